"""Gradients written by hand are those of autograd on the plain formula, whatever is asked for and in whatever precision."""

import pytest
import torch
import torch.nn.functional as F

from t1mini.fast.gradients import rms_norm, rotate, swiglu
from t1mini.model import rope, rope_angles


def plain_norm(x, weight, eps=1e-3):
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def compare(fast, slow, inputs, tolerance):
    fast_out, slow_out = fast(*inputs), slow(*inputs)
    torch.testing.assert_close(fast_out, slow_out, atol=tolerance, rtol=tolerance)
    dy = torch.randn_like(slow_out)
    for got, expected in zip(torch.autograd.grad(fast_out, inputs, dy), torch.autograd.grad(slow_out, inputs, dy), strict=True):
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 4, 7)], ids=str)
def test_rms_norm(dtype, tolerance, shape):
    torch.manual_seed(0)
    x, weight = torch.randn(shape, dtype=dtype, requires_grad=True), torch.randn(7, dtype=dtype, requires_grad=True)
    compare(lambda x, w: rms_norm(x, w, 1e-3), plain_norm, (x, weight), tolerance)


def test_rms_norm_of_bfloat16_is_computed_in_float32():
    torch.manual_seed(0)
    x, weight = torch.randn(5, 64).bfloat16(), torch.randn(64)
    found = rms_norm(x, weight, 1e-3)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain_norm(x.float(), weight), atol=0, rtol=2**-7)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
def test_rotate_turns_the_first_heads_and_leaves_the_rest(dtype, tolerance):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 8, dtype=dtype, requires_grad=True)
    angles = rope_angles(torch.tensor([[0, 1, 2], [4, 9, 40]]), 8, 100.0, dtype)
    compare(lambda x: rotate(x, *angles, 3), lambda x: torch.cat((rope(x[:, :, :3], angles), x[:, :, 3:]), dim=2), (x,), tolerance)


def test_rotate_of_bfloat16_rounds_once():
    torch.manual_seed(0)
    x, angles = torch.randn(2, 3, 5, 8).bfloat16(), rope_angles(torch.arange(3)[None], 8, 100.0, torch.float32)
    found, expected = rotate(x, *angles, 5), rope(x, angles)
    assert found.dtype == torch.bfloat16 and (found == expected).double().mean() > 0.95  # the others by one unit in the last place
    torch.testing.assert_close(found, expected, atol=0, rtol=2**-7)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
def test_swiglu(dtype, tolerance):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 10, dtype=dtype, requires_grad=True)
    compare(swiglu, lambda x: F.silu(x[..., :5]) * x[..., 5:], (x,), tolerance)
