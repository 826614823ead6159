"""Exercise 1: the decoder and its KV cache (tutorials/01_decoder_and_kv_cache.md).

Check it: python tutorials/check.py 01
"""

import torch
from torch import Tensor


def rope(x: Tensor, pos: Tensor) -> Tensor:
    """Turns queries or keys by their positions (RoPE, base 10,000). About 6 lines, 15 minutes, medium.

    x [N, S, heads, d] with d even, pos [S]: whole numbers. Pair i of a head is (x[i], x[i + d/2]) for i <
    d/2; it turns by the angle pos * 10000^(-2i/d):

        (a, b) -> (a cos - b sin, b cos + a sin)

    Returns a new tensor of x's shape and dtype, x stays as it is. (In bfloat16, too, positions may be above
    256.)
    """
    raise NotImplementedError


def attend(q: Tensor, k: Tensor, v: Tensor,
           cache: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Causal attention of new tokens over cached and new ones. About 12 lines, 25 minutes, hard.

    q [N, heads, S, d]; k and v [N, kv_heads, S, d] of the same S new tokens. `cache` is None, or the keys and
    values [N, kv_heads, C, d] of the C tokens before them. heads is a multiple of kv_heads: the first
    heads/kv_heads query heads share key/value head 0, the next ones head 1, and so on.

    New token s sees all of the cache and the new tokens 0 ... s: softmax(q k^T / sqrt(d)) v over those.
    Returns (mixed [N, heads, S, d], (keys, values) [N, kv_heads, C + S, d]): the cache for what comes next,
    old before new.
    """
    raise NotImplementedError
