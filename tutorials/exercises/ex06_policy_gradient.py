"""Exercise 6: RLOO and the loss (tutorials/06_rloo_and_the_loss.md).

Check it: python tutorials/check.py 06
Run it in the real loop: python -m t1mini rl --exercise tutorials/exercises/ex06_policy_gradient.py --steps 20
"""

import torch
from torch import Tensor


def rloo_advantages(rewards: Tensor) -> Tensor:
    """Each reward minus the mean of the prompt's other rewards: [P, K] -> [P, K].
    About 4 lines, 10 minutes, easy.

    ValueError for K < 2: one response has no others.
    """
    raise NotImplementedError


def logprobs_from_logits(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Log-probability of each token given those before it. About 4 lines, 20 minutes, medium.

    logits [N, T, V], ids [N, T] -> [N, T], in nats, of softmax(logits / temperature). logits[:, t] scores
    ids[:, t + 1]; the result for ids[:, t] stands at t, and position 0, which nothing scores, is 0. A
    temperature of 0 (greedy) is scored at 1.
    """
    raise NotImplementedError


def policy_gradient_loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, *, entropy: Tensor | None = None,
                         entropy_coef: float = 0.0, normaliser: float | Tensor | None = None) -> Tensor:
    """-sum(A * log pi + entropy_coef * H) over response tokens / normaliser, a scalar to minimise.
    About 6 lines, 25 minutes, medium.

    logprobs and entropy [N, T]; advantages [N], through which no gradient flows; mask [N, T], True on
    response tokens. What stands where the mask is False may be anything, even -inf or NaN. `normaliser`
    is the number of response tokens of the whole batch, of which these rows may be a part; by default those
    of `mask`, of which there is at least one.
    """
    raise NotImplementedError
