"""The optimiser warms up, decays, clips, and decays weights of matrices only."""

import pytest
import torch
from torch import nn

from t1mini.runs.optimiser import Optimiser, learning_rate


def test_the_rate_rises_to_its_peak_and_comes_down_to_its_final_share():
    rates = [learning_rate(s, 2.0, steps=200, warmup=10, final=0.25) for s in range(200)]
    assert rates[0] == pytest.approx(0.2) and rates[-1] == pytest.approx(0.5)
    assert max(rates) == rates[9] and rates[9:] == sorted(rates[9:], reverse=True)


def test_one_step_alone_moves_the_weights():
    assert learning_rate(0, 1.0, steps=1, warmup=0) == 1.0


def make(weight_decay=0.0, clip=1.0):
    model = nn.Linear(3, 2).double()
    return model, Optimiser(model, lr=0.1, steps=10, warmup=0, clip=clip, weight_decay=weight_decay)


def test_weight_decay_pulls_on_matrices_only():
    model, optimiser = make(weight_decay=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step(0)
    torch.testing.assert_close(model.weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, before[1])


def test_the_norm_before_clipping_is_reported_and_the_step_is_clipped():
    model, optimiser = make(clip=1e-3)
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    assert optimiser.clip_gradients() == pytest.approx(8**0.5)  # six weights and two biases with gradient 1
    assert sum(p.grad.square().sum() for p in model.parameters()).sqrt() == pytest.approx(1e-3, rel=1e-2)


def test_a_step_counts_and_clears_and_discarding_only_clears():
    model, optimiser = make()
    before = model.weight.detach().clone()
    for end in (optimiser.discard, lambda: optimiser.step(4)):
        assert torch.equal(model.weight, before) and optimiser.updates == 0
        model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
        end()
        assert all(p.grad is None for p in model.parameters())
    assert not torch.equal(model.weight, before) and optimiser.updates == 5
