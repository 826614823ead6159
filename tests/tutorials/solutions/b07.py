"""A right answer to exercise 7: logsumexp minus the mean logit, in float64."""

import torch


def token_entropy(logits):
    z = logits.double()
    z = torch.where(torch.isinf(z), torch.full_like(z, -1e30), z)
    p = torch.softmax(z, dim=-1)
    return torch.logsumexp(z, -1) - torch.where(p > 0, p * z, torch.zeros_like(z)).sum(-1)
