"""The reference is a float32 copy without gradients that moves by exactly 1 - decay of its distance to the policy."""

import pytest
import torch

from t1mini.reference import EMAReference, ema_update


def tensors(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in [(3, 4), (5,)]]


def nudged(model: torch.nn.Module, share: float) -> None:
    """Moves every weight by `share` of itself, in place."""
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + share)


@pytest.mark.parametrize("ref, policy, decay, stays_at", [(0, 1, 1.0, 0), (0, 1, 0.0, 1), (1, 1, 0.99, 1)],
                         ids=["decay 1", "decay 0", "equal"])
def test_fixed_points_are_exact(ref, policy, decay, stays_at):
    moving = tensors(ref)
    for _ in range(3):
        ema_update(moving, tensors(policy), decay)
    assert all(map(torch.equal, moving, tensors(stays_at)))


def test_n_updates_towards_one_policy_leave_decay_to_the_n_of_the_distance():
    ref, start, policy, decay, n = tensors(0), tensors(0), tensors(1), 0.9, 7
    for _ in range(n):
        ema_update(ref, policy, decay)
    for r, s, p in zip(ref, start, policy):
        torch.testing.assert_close(r, p + decay**n * (s - p), atol=1e-14, rtol=0)


@pytest.mark.parametrize("decay", [-0.01, 1.01, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError):
        ema_update(tensors(0), tensors(1), decay)


@pytest.mark.parametrize("drop_from", ["reference", "policy"])
def test_a_missing_parameter_is_an_error(drop_from):
    ref, policy = tensors(0), tensors(1)
    (ref if drop_from == "reference" else policy).pop()
    with pytest.raises(ValueError):
        ema_update(ref, policy, 0.9)


def test_the_reference_starts_as_the_policy_and_is_independent_of_it(tiny_model):
    reference = EMAReference(tiny_model, decay=0.9)
    before = [p.detach().clone() for p in tiny_model.parameters()]
    nudged(tiny_model, 0.5)
    assert all(map(torch.equal, reference.model.parameters(), before))
    nudged(reference.model, -1.0)
    assert all(torch.equal(p, 1.5 * b) for p, b in zip(tiny_model.parameters(), before))


def test_the_reference_asks_for_no_gradient_and_the_policy_still_does(tiny_model):
    reference = EMAReference(tiny_model, decay=0.9)
    reference.update(tiny_model)
    assert not any(p.requires_grad for p in reference.model.parameters()) and not reference.model.training
    assert all(p.requires_grad and p.grad is None for p in tiny_model.parameters())


def test_update_moves_each_parameter_by_1_minus_decay(tiny_model):
    reference = EMAReference(tiny_model, decay=0.75)
    start = [p.clone() for p in reference.model.parameters()]
    nudged(tiny_model, 0.5)
    reference.update(tiny_model)
    for r, s in zip(reference.model.parameters(), start):
        torch.testing.assert_close(r, 1.125 * s, atol=1e-6, rtol=0)


def test_it_is_float32_and_moves_by_1_percent_also_where_bfloat16_would_not(tiny_model):
    policy = tiny_model.bfloat16()
    reference = EMAReference(policy, decay=0.99)
    start = [p.clone() for p in reference.model.parameters()]
    nudged(policy, 0.05)
    reference.update(policy)
    for r, s, p in zip(reference.model.parameters(), start, policy.parameters()):
        assert r.dtype == torch.float32 and p.dtype == torch.bfloat16
        torch.testing.assert_close(r, s + 0.01 * (p.float() - s), atol=1e-7, rtol=1e-6)
        assert not torch.equal(r, s) and torch.equal(r.bfloat16(), s.bfloat16())  # bfloat16 would have rounded the step away
