"""Packing: scoring K responses a prompt without padding, and each prompt once.

A rectangle [n, S] of prompts and responses computes the prompt again in every row, and the padding behind every response.
Only attention needs rows, though: the matrix products of a decoder treat each token alone. So tokens stand in one line

    tokens [M]     prompt A, its responses, prompt B, its responses, ...       each prompt once, nothing padded
    rows [n, S]    which of them stands where, for attention: prompt, response, then anything (causality hides it)
    home [M]       where in rows.flatten() attention's result for a token is found; for a prompt's tokens, in its first row

and go to rows and back within each layer. A prompt's gradient is the sum over its rows, by itself: that is the backward of
reading a token more than once.

See it agree with whole rows: python -m pytest tests/test_packing.py
"""

from typing import NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PAYS = 0.9  # share of the rectangle's tokens


class Packing(NamedTuple):
    tokens: Tensor  # [M] ids
    positions: Tensor  # [M] in their rows
    rows: Tensor  # [n, S]
    home: Tensor  # [M]
    starts: Tensor  # [n] where responses begin in rows

    @property
    def pays(self) -> bool:
        """Going to rows and back costs about a tenth of what is left out."""
        return len(self.tokens) < PAYS * self.rows.numel()

    def to_rows(self, x: Tensor) -> Tensor:
        """[1, M, heads, d] -> [n, S, heads, d]"""
        return F.embedding(self.rows, x[0].flatten(1)).unflatten(-1, x.shape[2:])

    def to_tokens(self, x: Tensor) -> Tensor:
        """[n, S, ..] -> [1, M, ..]"""
        return F.embedding(self.home, x.flatten(0, 1))[None]

    def before(self, mask: Tensor) -> Tensor:
        """For each response token of `mask` [n, T] the token that stands before it, which predicts it: [mask.sum()]"""
        columns = self.starts[:, None] - 1 + torch.arange(mask.shape[1], device=mask.device)
        return self.rows.gather(1, columns.clamp(max=self.rows.shape[1] - 1))[mask]


def pack(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device="cpu") -> Packing:
    """Row i is responses[i] after prompts[i]; equal prompts are one.

    >>> pack([[7, 8], [7, 8], [9]], [[1, 2], [3], [4]]).tokens.tolist()
    [7, 8, 1, 2, 3, 9, 4]
    >>> pack([[7, 8], [7, 8], [9]], [[1, 2], [3], [4]]).rows.tolist()
    [[0, 1, 2, 3], [0, 1, 4, 0], [5, 6, 0, 0]]
    """
    width = max(len(p) + len(r) for p, r in zip(prompts, responses))
    tokens, positions, home, rows, first = [], [], [], [], {}

    def add(ids: Sequence[int], row: int, position: int) -> range:
        here = range(len(tokens), len(tokens) + len(ids))
        tokens.extend(ids)
        positions.extend(range(position, position + len(ids)))
        home.extend(range(row * width + position, row * width + position + len(ids)))
        return here

    for row, (prompt, response) in enumerate(zip(prompts, responses)):
        key = tuple(prompt)
        if key not in first:
            first[key] = add(prompt, row, 0)
        after = add(response, row, len(prompt))
        rows.append([*first[key], *after, *[0] * (width - len(prompt) - len(response))])
    as_tensor = lambda values: torch.tensor(values, dtype=torch.long, device=device)
    return Packing(as_tensor(tokens), as_tensor(positions), as_tensor(rows), as_tensor(home), as_tensor([len(p) for p in prompts]))
