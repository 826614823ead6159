"""A right answer to exercise 7."""

import torch


def token_entropy(logits):
    logp = logits.log_softmax(-1)
    possible = logits > -torch.inf
    logp = torch.where(possible, logp, 0.0)
    return -torch.where(possible, logp.exp() * logp, 0.0).sum(-1)
