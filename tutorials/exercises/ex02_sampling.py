"""Exercise 2: sampling (tutorials/02_sampling.md).

Check it: python tutorials/check.py 02
"""

import torch
from torch import Tensor


def min_p_mask(logits: Tensor, temperature: float, min_p: float) -> Tensor:
    """Which tokens min-p keeps. About 3 lines, 10 minutes, easy.

    logits [.., V], temperature > 0, 0 < min_p <= 1 -> bool [.., V], True where p >= min_p * (the row's
    largest p), with p = softmax(logits / temperature). A logit may be -inf.
    """
    raise NotImplementedError


def gumbel_sample(logits: Tensor, temperature: float, min_p: float, generator: torch.Generator) -> Tensor:
    """One token a row, by the Gumbel trick. About 5 lines, 20 minutes, medium.

    logits [N, V], temperature > 0, 0 <= min_p <= 1 (0 keeps all) -> token ids [N], each drawn from
    softmax(logits / temperature) over the tokens that min-p keeps: argmax(logits / temperature + G) with G =
    -log(-log u), u uniform on (0, 1). All noise comes from `generator`, each row's and each token's own.
    """
    raise NotImplementedError
