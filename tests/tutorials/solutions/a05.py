"""Right answers to exercise 5."""

import math


def pass_at_k(n, c, k):
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def group(rewards, k):
    if rewards.numel() % k:
        raise ValueError(f"{rewards.numel()} rewards are no multiple of {k}")
    return rewards.view(-1, k)


def signal_fraction(rewards):
    return (rewards.amax(-1) > rewards.amin(-1)).float().mean().item()

def hard_problems(correct, at_least, at_most):
    share = correct.double().mean(-1)
    return ((share >= at_least) & (share <= at_most)).nonzero().flatten().tolist()
