"""Exercise 8: centred KL and the moving reference (tutorials/08_kl_and_reference.md).

Check it: python tutorials/check.py 08
Run it in the real loop: python -m t1mini rl --exercise tutorials/exercises/ex08_reference.py --steps 20
"""

from typing import Iterable

import torch
from torch import Tensor


def sequence_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor) -> Tensor:
    """How much likelier the policy finds its response than the reference does, in nats, detached.
    About 2 lines, 10 minutes, easy.

    logprobs, ref_logprobs, mask [N, T] -> [N], of the log-probabilities' dtype: the sum over response tokens
    of log pi - log pi_ref. What stands where the mask is False may be anything, even -inf or NaN.
    """
    raise NotImplementedError


def centred_kl(kl: Tensor) -> Tensor:
    """KL minus its mean over the prompt's responses: [P, K] -> [P, K]. About 1 line, 5 minutes, easy."""
    raise NotImplementedError


def ema_update(ref_parameters: Iterable[Tensor], parameters: Iterable[Tensor], decay: float) -> None:
    """ref <- decay * ref + (1 - decay) * parameter, in place, for each pair.
    About 5 lines, 15 minutes, medium.

    Both may be generators, as `policy.parameters()` is. All tensors are float32. The reference's require no
    gradient, before and after; the policy's do, and stay as they are.
    ValueError unless 0 <= decay <= 1.
    """
    raise NotImplementedError


def advantages(rewards: Tensor, kl: Tensor, kl_coef: float) -> Tensor:
    """What moves the policy: leave-one-out of the rewards r', minus kl_coef times the centred KL.
    About 3 lines, 10 minutes, easy.

    rewards [P, K], 1, 0 or -1, and kl [P, K], in nats; K >= 2 -> [P, K]. `t1mini.loss.rloo_advantages` is
    lesson 6's; your own centred_kl will do.
    """
    raise NotImplementedError
