"""Micro-batches cover every row once within their token budget, and masks come from lengths."""

import random

import pytest
import torch

from t1mini.runs.batches import bucketed_batches, length_mask, micro_batches, pad


@pytest.mark.parametrize("budget", [1, 17, 60, 10_000])
def test_micro_batches_cover_each_row_once_within_the_budget(budget):
    rng = random.Random(budget)
    lengths = [rng.randint(1, 40) for _ in range(53)]
    batches = list(micro_batches(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(53))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@pytest.mark.parametrize("lengths, budget, expected", [
    ([2, 7, 3, 7, 2, 2], 14, [[1, 3], [2, 0, 4, 5]]),  # from long to short, filled to the budget
    ([4, 30, 5], 10, [[1], [2, 0]]),  # a row longer than the budget stands alone
    ([], 10, []),
])
def test_micro_batches_by_hand(lengths, budget, expected):
    assert list(micro_batches(lengths, budget)) == expected


def test_padding_is_on_the_right_up_to_the_longest():
    padded = pad([[5, 6], [], [7, 8, 9]], 4)
    assert padded.dtype == torch.long and padded.tolist() == [[5, 6, 4], [4, 4, 4], [7, 8, 9]]


def test_the_mask_is_true_on_the_first_length_places():
    assert length_mask(torch.tensor([3, 0, 1]), 4).tolist() == [[True, True, True, False], [False] * 4, [True, False, False, False]]


def test_buckets_hold_every_example_once_and_little_padding():
    rng = random.Random(0)
    lengths = [rng.randint(1, 100) for _ in range(500)]
    batches = bucketed_batches(lengths, 8, random.Random(1))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths) and batches != bucketed_batches(lengths, 8, random.Random(2))
