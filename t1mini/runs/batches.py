"""Batching: sequences of unequal length in rectangular tensors, with as little padding as possible.

A batch is as wide as its longest row, so sequences of like length belong together. Rows are padded on the
right: in a causal decoder nothing real looks at what comes after it, so the padding needs no mask in
attention, only in the loss.

See it: python -m pytest tests/runs/test_batches.py
"""

import random
from typing import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

POOL = 32  # batches whose examples are sorted together


def pad(sequences: Sequence[Sequence], filling, device="cpu", dtype=torch.long):
    """Sequences as one tensor [N, T], padded on the right.

    >>> pad([[1, 2, 3], [4]], 0)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    rows = [torch.tensor(values, dtype=dtype) for values in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=filling).to(device)


def length_mask(lengths: Tensor, width: int):
    """True at the first lengths[n] places of row n: [N] -> [N, width].

    >>> length_mask(torch.tensor([2, 0]), 3)
    tensor([[ True,  True, False],
            [False, False, False]])
    """
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def micro_batches(lengths: Sequence[int], token_budget: int):
    """Row numbers, longest first, in batches of at most `token_budget` tokens with padding, or of one row.

    >>> list(micro_batches([3, 9, 4, 8], token_budget=18))
    [[1, 3], [2, 0]]
    """
    batch = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > token_budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def bucketed_batches(lengths: Sequence[int], batch: int, rng: random.Random):
    """Every example once, in batches of `batch` of like length, in random order.

    Examples are shuffled, then sorted by length within pools of POOL batches, so each batch is random but
    narrow.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    size = batch * POOL
    pools = [sorted(order[i : i + size], key=lengths.__getitem__) for i in range(0, len(order), size)]
    batches = [rows[i : i + batch] for rows in pools for i in range(0, len(rows), batch)]
    rng.shuffle(batches)
    return batches
