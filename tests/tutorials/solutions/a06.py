"""Right answers to exercise 6, whole tensors at a time."""

import torch


def rloo_advantages(rewards):
    k = rewards.shape[1]
    if k < 2:
        raise ValueError("K < 2")
    return (rewards - rewards.mean(1, keepdim=True)) * k / (k - 1)


def logprobs_from_logits(logits, ids, temperature):
    logp = torch.log_softmax(logits[:, :-1] / (temperature if temperature > 0 else 1.0), -1)
    picked = logp.gather(2, ids[:, 1:].unsqueeze(2)).squeeze(2)
    return torch.cat((torch.zeros_like(logits[:, :1, 0]), picked), 1)


def policy_gradient_loss(logprobs, advantages, mask, *, entropy=None, entropy_coef=0.0, normaliser=None):
    objective = advantages.detach().unsqueeze(1) * logprobs
    if entropy is not None:
        objective = objective + entropy_coef * entropy
    return -objective[mask.bool()].sum() / (mask.sum() if normaliser is None else normaliser)
