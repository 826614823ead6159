"""Right answers to exercise 5: a product, loops, a tensor in place of a number."""

import numpy as np
import torch


def pass_at_k(n, c, k):
    if n - c < k:
        return 1.0
    return 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))


def group(rewards, k):
    prompts, rest = divmod(len(rewards), k)
    if rest:
        raise ValueError("no whole number of prompts")
    out = torch.empty(prompts, k, dtype=rewards.dtype)
    for p in range(prompts):
        for i in range(k):
            out[p, i] = rewards[p * k + i]
    return out


def signal_fraction(rewards):
    return (rewards.std(dim=1) > 0).double().mean()

def hard_problems(correct, at_least, at_most):
    n = correct.shape[1]
    return [i for i in range(len(correct)) if at_least <= int(correct[i].sum()) / n <= at_most]
