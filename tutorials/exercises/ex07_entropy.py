"""Exercise 7: the entropy bonus (tutorials/07_entropy_bonus.md).

Check it: python tutorials/check.py 07
Run it in the real loop: python -m t1mini rl --exercise tutorials/exercises/ex07_entropy.py --steps 20
"""

import torch
from torch import Tensor


def token_entropy(logits: Tensor) -> Tensor:
    """The entropy of softmax(logits) in nats: [.., V] -> [..]. About 4 lines, 15 minutes, medium.

    A logit may be -inf, as a filter leaves it: its token has probability 0 and adds 0. Value and gradient
    stay finite.
    """
    raise NotImplementedError
