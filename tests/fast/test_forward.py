"""Gradients written by hand are those of autograd on the plain formula, in whatever precision."""

import pytest
import torch
import torch.nn.functional as F

from t1mini.fast.forward import rms_norm, rotate, swiglu
from t1mini.model import RMSNorm, rope, rope_angles

PRECISIONS = pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)


def compare(fast, slow, inputs, tolerance):
    fast_out, slow_out = fast(*inputs), slow(*inputs)
    torch.testing.assert_close(fast_out, slow_out, atol=tolerance, rtol=tolerance)
    dy = torch.randn_like(slow_out)
    gradients = (torch.autograd.grad(out, inputs, dy) for out in (fast_out, slow_out))
    for got, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


@PRECISIONS
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 4, 7)], ids=str)
def test_rms_norm(dtype, tolerance, shape):
    torch.manual_seed(0)
    norm = RMSNorm(7, 1e-3).to(dtype)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    compare(lambda x, _: rms_norm(x, norm), lambda x, _: norm(x), (x, norm.weight), tolerance)


def test_rms_norm_of_bfloat16_is_computed_in_float32():
    torch.manual_seed(0)
    x, norm = torch.randn(5, 64).bfloat16(), RMSNorm(64, 1e-3)
    assert rms_norm(x, norm).dtype == norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(rms_norm(x, norm).float(), norm(x.float()), atol=0, rtol=2**-7)


def angles_of(positions, dtype):
    return [angle.unsqueeze(2) for angle in rope_angles(positions, 8, 100.0, dtype)]


@PRECISIONS
def test_rotate_turns_the_first_heads_and_leaves_the_rest(dtype, tolerance):
    torch.manual_seed(0)
    x, positions = torch.randn(2, 3, 5, 8, dtype=dtype, requires_grad=True), torch.tensor([[0, 1, 2], [4, 9, 40]])

    def slow(x):
        turned = rope(x[:, :, :3].transpose(1, 2), rope_angles(positions, 8, 100.0, dtype))
        return torch.cat((turned.transpose(1, 2), x[:, :, 3:]), dim=2)

    compare(lambda x: rotate(x, *angles_of(positions, dtype), 3), slow, (x,), tolerance)


def test_rotate_of_bfloat16_rounds_once():
    torch.manual_seed(0)
    x, positions = torch.randn(2, 3, 5, 8).bfloat16(), torch.arange(3)[None]
    found = rotate(x, *angles_of(positions, torch.float32), 5)
    expected = rope(x.transpose(1, 2), rope_angles(positions, 8, 100.0, torch.float32)).transpose(1, 2)
    assert found.dtype == torch.bfloat16 and (found == expected).double().mean() > 0.95  # the others by one unit in the last place
    torch.testing.assert_close(found, expected, atol=0, rtol=2**-7)


@PRECISIONS
def test_swiglu(dtype, tolerance):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 10, dtype=dtype, requires_grad=True)
    compare(swiglu, lambda x: F.silu(x[..., :5]) * x[..., 5:], (x,), tolerance)
