"""The decoder's forward pass with joined matrices and gradients by hand: t1mini.model's, arranged for whole
sequences.

    joined      q, k and v in one matrix product, gate and up in another
    by hand     RMSNorm, RoPE and SwiGLU, whose arithmetic is little and whose memory traffic is not:

    y = x r w,  r = (mean x^2 + eps)^(-1/2)     dx = r (g - n mean(g n)),  n = x r,  g = w dy;  dw = sum n dy
    y = R(angle) x                              dx = R(-angle) dy
    y = silu(a) b,  silu(a) = a / (1 + e^-a)    da = b dy silu'(a),  db = silu(a) dy

Autograd would keep every intermediate result and pass over each again. These keep the inputs, and write what
belongs together into one tensor. The matrix products between them are left to torch. Attention is the
caller's, since only it knows where a token stands: t1mini.fast.score packs rows, t1mini.fast.decode keeps
keys and values.

See it agree with the model and with autograd: python -m pytest tests/fast/test_forward.py
"""

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t1mini.model import Layer, Qwen, RMSNorm, rope_angles

Attend = Callable[[int, Tensor], Tensor]


def hidden_states(model: Qwen, ids: Tensor, positions: Tensor, attend: Attend,
                  recompute: bool = False) -> Tensor:
    """The last layer's normalised states [N, S, H] of tokens `ids` [N, S] at `positions` [N or 1, S].

    `attend(layer, qkv)` is attention, from queries, keys and values [N, S, heads + 2 kv, d] to [N, S, heads *
    d]. With `recompute` a layer keeps its input alone and computes the rest again in the backward pass: less
    memory, more time.
    """
    c, x = model.config, model.embed_tokens(ids)  # [N, S, H]
    angles = rope_angles(positions, c.head_dim, c.rope_theta, x.dtype)
    angles = [angle.unsqueeze(2) for angle in angles]  # [N, S, 1, d/2]
    for i, layer in enumerate(model.layers):
        arguments = layer, x, angles, lambda qkv, i=i: attend(i, qkv)
        if recompute and torch.is_grad_enabled():
            x = checkpoint(layer_states, *arguments, use_reentrant=False)
        else:
            x = layer_states(*arguments)
    return rms_norm(x, model.norm)


def layer_states(layer: Layer, x: Tensor, angles, attend: Callable) -> Tensor:
    a, mlp = layer.self_attn, layer.mlp
    qkv = joint_linear(rms_norm(x, layer.input_layernorm), a.q_proj, a.k_proj, a.v_proj)
    if x.device.type == "cpu":
        qkv = qkv.to(x.dtype)  # in bfloat16 attention's gradient takes three times as long there
    qkv = qkv.unflatten(-1, (-1, a.head_dim))  # [N, S, heads + 2 kv, d]
    kv = a.k_proj.out_features // a.head_dim
    heads = qkv.shape[2] - 2 * kv
    if isinstance(a.q_norm, RMSNorm):
        q, k, v = qkv.split((heads, kv, kv), dim=2)
        qkv = torch.cat((rms_norm(q, a.q_norm), rms_norm(k, a.k_norm), v), dim=2)
    x = x + a.o_proj(attend(rotate(qkv, *angles, heads + kv)))
    gate_up = joint_linear(rms_norm(x, layer.post_attention_layernorm), mlp.gate_proj, mlp.up_proj)
    return x + mlp.down_proj(swiglu(gate_up))


def causal_attention(qkv: Tensor, kv: int) -> Tensor:
    """Over rows [n, S, heads + 2 kv, d], each position seeing itself and those before: [n, S, heads * d]"""
    q, k, v = qkv.transpose(1, 2).split((qkv.shape[2] - 2 * kv, kv, kv), dim=1)  # [n, heads or kv, S, d]
    with torch.autocast(qkv.device.type, enabled=False):
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return mixed.transpose(1, 2).flatten(2)


def joint_linear(x: Tensor, *linears: nn.Linear) -> Tensor:
    """Their outputs side by side, as one matrix product."""
    bias = torch.cat([linear.bias for linear in linears]) if linears[0].bias is not None else None
    return F.linear(x, torch.cat([linear.weight for linear in linears]), bias)


def rms_norm(x: Tensor, norm: RMSNorm) -> Tensor:
    """x [.., H] / sqrt(mean(x^2) + eps) * weight [H], computed in float32 at least, in the dtype of x."""
    return _RMSNorm.apply(x, norm.weight, norm.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
    """The first `heads` of x [N, S, H, d] turned, pair (x_i, x_{i + d/2}) by its angle [N, S, 1, d/2]."""
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
        mean = torch.linalg.vecdot(g, n).unsqueeze(-1)
        return g.addcmul_(n, mean, value=-1 / x.shape[-1]).mul_(r).to(x.dtype), dweight, None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, cos, sin, heads):
        ctx.heads = heads
        ctx.save_for_backward(cos, sin)
        return rotated(x, cos, sin, heads)

    @staticmethod
    def backward(ctx, dy):
        cos, sin = ctx.saved_tensors
        return rotated(dy, cos, -sin, ctx.heads), None, None, None


def rotated(x: Tensor, cos: Tensor, sin: Tensor, heads: int) -> Tensor:
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
