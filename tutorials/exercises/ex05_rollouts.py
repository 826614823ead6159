"""Exercise 5: oversampled rollouts (tutorials/05_rollouts.md).

Check it: python tutorials/check.py 05
"""

from torch import Tensor


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, include one of the c right ones.
    About 2 lines, 10 minutes, easy.

    0 <= c <= n, 1 <= k <= n; n may be 10,000. -> a share between 0 and 1.
    """
    raise NotImplementedError


def group(rewards: Tensor, k: int) -> Tensor:
    """Rewards by prompt: [N] -> [P, k], N = P * k. About 3 lines, 5 minutes, easy.

    Rows are prompt-major: the k responses to prompt 0 come first, then those to prompt 1. The numbers and
    their dtype stay as they are. ValueError where N is no multiple of k.
    """
    raise NotImplementedError


def signal_fraction(rewards: Tensor) -> float:
    """The share of prompts that teach anything: those whose K rewards are not all equal.
    About 2 lines, 10 minutes, easy.

    rewards [P, K], 1, 0 or -1 -> a Python float (or a tensor of one number) between 0 and 1.
    """
    raise NotImplementedError


def hard_problems(correct: Tensor, at_least: float, at_most: float) -> list[int]:
    """The problems that are worth training on, by how often the policy solves them already.
    About 3 lines, 10 minutes, easy.

    correct [P, n] bool: n samples of each of P problems, right or not -> the numbers, from 0 and in their
    order, of those whose share of right samples is at_least to at_most, both ends included: 29 of 100 is a
    share of 0.29, though 0.29 * 100 is a little less than 29 on a computer. (T1: 0 to 0.3 of 16.)
    """
    raise NotImplementedError
