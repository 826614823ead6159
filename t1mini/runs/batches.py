"""Batching: sequences of unequal length in rectangular tensors, with as little padding as possible.

A batch is as wide as its longest row, so sequences of like length belong together. Rows are padded on the
right: in a causal decoder nothing real looks at what comes after it, so the padding needs no mask in
attention, only in the loss.

See it: python -m pytest tests/runs/test_batches.py
"""

import random
from typing import Iterator, Sequence

import torch
from torch import Tensor


def pad(sequences: Sequence[Sequence], filling, device="cpu", dtype=torch.long) -> Tensor:
    """Sequences as one tensor [N, T], padded on the right.

    >>> pad([[1, 2, 3], [4]], 0)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    width = max(map(len, sequences))
    rows = [[*values, *[filling] * (width - len(values))] for values in sequences]
    return torch.tensor(rows, dtype=dtype, device=device)


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """True at the first lengths[n] places of row n: [N] -> [N, width].

    >>> length_mask(torch.tensor([2, 0]), 3)
    tensor([[ True,  True, False],
            [False, False, False]])
    """
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def micro_batches(lengths: Sequence[int], token_budget: int,
                  groups: Sequence[int] | None = None) -> Iterator[list[int]]:
    """Row numbers, longest first, in batches of at most `token_budget` tokens with padding, or of one row.

    With `groups` the rows of a group stay together, for what they share, longest first within it.

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


def scoring_batches(rows: Sequence[int], prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
                    token_budget: int) -> list[list[int]]:
    """Micro-batches of rows of rollouts: like lengths together, or a prompt's rows, whichever costs less.

    `responses` are prompt-major. Matrix products see a prompt once a micro-batch and no padding, attention
    sees whole rectangles (t1mini.fast.score).

    >>> scoring_batches(range(4), [[1, 1, 1], [1]], [[2], [2, 2, 2], [2], [2, 2, 2]], token_budget=12)
    [[1, 0], [3, 2]]
    """
    k = len(responses) // len(prompts)
    length = lambda row: len(prompts[row // k]) + len(responses[row])

    def work(batches: list[list[int]]) -> int:
        total = 0
        for batch in batches:
            total += sum(len(responses[row]) for row in batch)
            total += sum(len(prompts[p]) for p in {row // k for row in batch})
            total += len(batch) * max(map(length, batch))
        return total

    lengths = [length(row) for row in rows]
    groups = [row // k for row in rows]
    ways = micro_batches(lengths, token_budget), micro_batches(lengths, token_budget, groups)
    return min(([[rows[i] for i in picks] for picks in way] for way in ways), key=work)


def bucketed_batches(lengths: Sequence[int], batch: int, rng: random.Random,
                     pool: int = 32) -> list[list[int]]:
    """Every example once, in batches of `batch` of like length, in random order.

    Examples are shuffled, then sorted by length within pools of `pool` batches, so each batch is random but
    narrow.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    size = batch * pool
    pools = [sorted(order[i : i + size], key=lengths.__getitem__) for i in range(0, len(order), size)]
    batches = [rows[i : i + batch] for rows in pools for i in range(0, len(rows), batch)]
    rng.shuffle(batches)
    return batches
