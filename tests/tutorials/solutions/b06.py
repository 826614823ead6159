"""Right answers to exercise 6: a matrix, cross entropy, a loop over rows."""

import torch
import torch.nn.functional as F


def rloo_advantages(rewards):
    K = rewards.size(-1)
    if K < 2:
        raise ValueError("need two responses")
    others = (1 - torch.eye(K, dtype=rewards.dtype)) / (K - 1)
    return rewards - torch.einsum("pj,ij->pi", rewards, others)


def logprobs_from_logits(logits, ids, temperature):
    if temperature == 0:
        temperature = 1
    N, T, V = logits.shape
    out = logits.new_zeros(N, T)
    out[:, 1:] = -F.cross_entropy((logits[:, :-1] / temperature).reshape(-1, V), ids[:, 1:].reshape(-1),
                                  reduction="none").view(N, T - 1)
    return out


def policy_gradient_loss(logprobs, advantages, mask, *, entropy=None, entropy_coef=0.0, normaliser=None):
    total = 0.0
    with torch.no_grad():
        a = advantages.clone()
    for n in range(len(mask)):
        keep = mask[n].nonzero().flatten()
        total = total - a[n] * logprobs[n, keep].sum()
        if entropy_coef != 0:
            total = total - entropy_coef * entropy[n, keep].sum()
    count = normaliser if normaliser is not None else mask.sum().item()
    return total / count
