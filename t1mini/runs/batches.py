"""Batching: sequences of unequal length in rectangular tensors, with as little padding as possible.

A batch is as wide as its longest row, so sequences of like length belong together. Rows are padded on the right: in a
causal decoder nothing real looks at what comes after it, so the padding needs no mask in attention, only in the loss.

See it: python -m pytest tests/test_batching.py
"""

from typing import Iterator, Sequence

import torch
from torch import Tensor


def micro_batches(lengths: Sequence[int], token_budget: int, groups: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Row numbers, longest first, in batches of at most `token_budget` tokens, padding counted (or of one row).

    With `groups` the rows of a group stay together, for what they share (t1mini.fast.packing), longest first within it.

    >>> list(micro_batches([3, 9, 4, 8], token_budget=18))
    [[1, 3], [2, 0]]
    >>> list(micro_batches([3, 9, 4, 8], token_budget=18, groups=[0, 0, 1, 1]))
    [[1, 0], [3, 2]]
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda r: (groups[r] if groups else 0, -lengths[r])):
        widest = max([lengths[row], *(lengths[r] for r in batch)])
        if batch and (len(batch) + 1) * widest > token_budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def pad(sequences: Sequence[Sequence[int]], pad_id: int, device="cpu") -> Tensor:
    """Sequences of ids as one tensor [N, T], padded on the right.

    >>> pad([[1, 2, 3], [4]], pad_id=0)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    width = max(map(len, sequences))
    return torch.tensor([[*s, *[pad_id] * (width - len(s))] for s in sequences], dtype=torch.long, device=device)


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """True at the first lengths[n] places of row n: [N] -> [N, width].

    >>> length_mask(torch.tensor([2, 0]), 3)
    tensor([[ True,  True, False],
            [False, False, False]])
    """
    return torch.arange(width, device=lengths.device) < lengths[:, None]
