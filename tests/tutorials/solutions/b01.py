"""Right answers to exercise 1: complex numbers, einsum, torch's own kernel, in place on a copy."""

import torch
import torch.nn.functional as F


def rope(x, pos):
    half = x.size(-1) // 2
    out = x.clone()
    for i in range(half):
        angle = pos.double() / 10000 ** (2 * i / x.size(-1))
        c, s = angle.cos()[None, :, None].to(x), angle.sin()[None, :, None].to(x)
        out[..., i] = x[..., i] * c - x[..., i + half] * s
        out[..., i + half] = x[..., i + half] * c + x[..., i] * s
    return out


def attend(q, k, v, cache):
    keys = k if cache is None else torch.cat([cache[0], k], dim=-2)
    values = v if cache is None else torch.cat([cache[1], v], dim=-2)
    N, H, S, d = q.shape
    G = keys.shape[1]
    T = keys.shape[2]
    allowed = torch.arange(T)[None, :] <= torch.arange(S)[:, None] + (T - S)
    scores = torch.einsum("ngrsd,ngtd->ngrst", q.view(N, G, H // G, S, d) * d**-0.5, keys)
    weights = F.softmax(torch.where(allowed, scores, torch.full_like(scores, float("-inf"))), dim=-1)
    return torch.einsum("ngrst,ngtd->ngrsd", weights, values).reshape(N, H, S, d), [keys, values]
