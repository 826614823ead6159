"""Right answers to exercise 8: loops, .data, einsum."""

import torch


def sequence_kl(logprobs, ref_logprobs, mask):
    out = torch.zeros(mask.shape[0], dtype=logprobs.dtype)
    with torch.no_grad():
        for n in range(mask.shape[0]):
            out[n] = logprobs[n][mask[n]].sum() - ref_logprobs[n][mask[n]].sum()
    return out


def centred_kl(kl):
    k = kl.shape[1]
    return torch.einsum("pk,kj->pj", kl, torch.eye(k, dtype=kl.dtype) - 1 / k)


def ema_update(ref_parameters, parameters, decay):
    if decay < 0 or decay > 1:
        raise ValueError("decay")
    for r, p in zip(ref_parameters, parameters):
        r.data.mul_(decay).add_(p.detach() * (1 - decay))
    return None

def advantages(rewards, kl, kl_coef):
    k = rewards.shape[1]
    return k / (k - 1) * (rewards - rewards.mean(1)[:, None]) - kl_coef * kl + kl_coef * kl.mean(1)[:, None]
