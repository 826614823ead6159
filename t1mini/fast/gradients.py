"""Gradients by hand: RMSNorm, RoPE and SwiGLU, whose arithmetic is little and whose memory traffic is not.

    y = x r w,  r = (mean x^2 + eps)^(-1/2)         dx = r (g - n mean(g n)),  n = x r,  g = w dy         dw = sum n dy
    y = R(angle) x                                  dx = R(-angle) dy
    y = silu(a) b,  silu(a) = a / (1 + e^-a)        da = b dy silu'(a),  db = silu(a) dy

Autograd would keep every intermediate result and pass over each again. These keep the inputs, and write what belongs together
into one tensor. The matrix products between them are left to torch.

See them agree with autograd: python -m pytest tests/test_gradients.py
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [.., H] / sqrt(mean(x^2) + eps) * weight [H], computed in float32 at least, in the dtype of x."""
    return _RMSNorm.apply(x, weight, eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """The first `heads` of x [N, S, H, d] turned, each pair (x_i, x_{i + d/2}) by its angle [N, S, 1, d/2]; the others as they are."""
    return _Rotate.apply(x, cos, sin, heads)


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up: [.., 2 I] -> [.., I]

    >>> swiglu(torch.tensor([0.0, 100.0, 7.0, 0.5]))
    tensor([ 0., 50.])
    """
    return _SwiGLU.apply(gate_up)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, eps):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # squares of bfloat16 lose too much
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        r = torch.addcmul(norm.new_full((), eps), norm, norm, value=1 / x.shape[-1]).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        return (wide * r).to(x.dtype) * weight.to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, weight, r = ctx.saved_tensors
        n, dy = x.to(r.dtype) * r, dy.to(r.dtype)
        dweight = (dy * n).reshape(-1, x.shape[-1]).sum(0).to(weight.dtype)
        g = dy * weight.to(r.dtype)
        return g.addcmul_(n, torch.linalg.vecdot(g, n).unsqueeze(-1), value=-1 / x.shape[-1]).mul_(r).to(x.dtype), dweight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cos, sin, heads):
        ctx.heads = heads
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, heads)

    @staticmethod
    def backward(ctx, dy):
        cos, sin = ctx.saved_tensors
        return _turned(dy, cos, -sin, ctx.heads), None, None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    y = torch.empty_like(x, dtype=torch.promote_types(x.dtype, cos.dtype))  # rounded once
    (a, b), (ya, yb) = x[:, :, :heads].chunk(2, dim=-1), y[:, :, :heads].chunk(2, dim=-1)
    torch.mul(a, cos, out=ya).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=yb).addcmul_(a, sin)
    y[:, :, heads:] = x[:, :, heads:]
    return y.to(x.dtype)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate_up):
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, dy):
        gate, up = ctx.saved_tensors[0].chunk(2, dim=-1)
        return torch.cat((torch.ops.aten.silu_backward(dy * up, gate), F.silu(gate).mul_(dy)), dim=-1)
