"""The optimiser warms up, decays, clips, and decays weights of matrices only."""

import pytest
import torch
from torch import nn

from t1mini.runs.optimiser import NotFinite, Optimiser, learning_rate
from t1mini.runs.settings import UserError
from t1mini.runs.team import Team


def test_the_rate_rises_to_its_peak_and_comes_down_to_its_final_share():
    rates = [learning_rate(s, 2.0, steps=200, warmup=10, final=0.25) for s in range(200)]
    assert rates[0] == pytest.approx(0.2) and rates[-1] == pytest.approx(0.5)
    assert learning_rate(0, 1.0, steps=1, warmup=0) == 1.0  # one alone moves the weights
    assert max(rates) == rates[9] and rates[9:] == sorted(rates[9:], reverse=True)


def make(weight_decay=0.0, clip=1.0):
    model = nn.Linear(3, 2).double()
    return model, Optimiser(model, Team(), lr=0.1, steps=10, warmup=0, clip=clip, weight_decay=weight_decay, largest_gap=0.01)


def backward(model):
    model(torch.ones(1, 3, dtype=torch.float64)).sum().backward()


def test_weight_decay_pulls_on_matrices_only():
    model, optimiser = make(weight_decay=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    optimiser.step(0, {}, list)
    torch.testing.assert_close(model.weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, before[1])


def test_the_norm_before_clipping_is_returned_and_the_step_is_clipped():
    model, optimiser = make(clip=1e-3)
    backward(model)
    norms = []
    optimiser.adamw.step = lambda: norms.append(sum(p.grad.square().sum() for p in model.parameters()).sqrt())
    assert optimiser.step(0, {}, list) == pytest.approx(8**0.5)  # six weights and two biases with gradient 1
    assert norms == [pytest.approx(1e-3, rel=1e-2)]


def test_a_step_counts_and_clears():
    model, optimiser = make()
    before = model.weight.detach().clone()
    backward(model)
    optimiser.step(4, {"loss": torch.tensor(1.0)}, list, gap=torch.tensor(0.0099))
    assert not torch.equal(model.weight, before) and optimiser.updates == 5 and model.weight.grad is None


@pytest.mark.parametrize("quantity", ["loss", "gradient"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_applied_and_named(quantity, value):
    model, optimiser = make()
    before = model.weight.detach().clone()
    backward(model)
    if quantity == "gradient":
        model.weight.grad[0, 1] = value
    with pytest.raises(NotFinite, match=quantity) as raised:
        optimiser.step(0, {"reward": torch.ones(2), "loss": torch.tensor(value if quantity == "loss" else 0.0)}, lambda: [{"a": 1}])
    assert raised.value.args[1] == [{"a": 1}]
    assert torch.equal(model.weight, before) and optimiser.updates == 0 and model.weight.grad is None


@pytest.mark.parametrize("gap", [0.0101, float("nan")])
def test_a_rollout_that_was_not_drawn_from_this_policy_stops_the_run(gap):
    model, optimiser = make()
    backward(model)
    with pytest.raises(UserError, match="disagree"):
        optimiser.step(0, {}, list, gap=torch.tensor(gap))
    assert optimiser.updates == 0
