"""The decoder's forward pass with joined matrices: t1mini.model's, arranged for whole sequences.

    joined      q, k and v in one matrix product, gate and up in another
    kernels     torch's own for RMSNorm and for attention
    RoPE        one product of complex numbers

Attention is the caller's, since only it knows where a token stands: t1mini.fast.score packs rows. Decoding,
t1mini.fast.decode, has layers of its own, and shares RoPE and attention.

Tried and left out: gradients of RMSNorm, RoPE and SwiGLU by hand (within 5% of autograd's time either way),
torch.compile of the layers (5% in float32, 11% in bfloat16, for 10 to 20 seconds of compiling).

See it agree with the model: python -m pytest tests/fast/test_twins.py
"""

from typing import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from t1mini.model import Layer, Qwen, QwenConfig, RMSNorm, rope_angles


def hidden_states(model: Qwen, ids: Tensor, positions: Tensor, attend: Callable,
                  recompute: bool = False) -> Tensor:
    """The last layer's normalised states [N, S, H] of tokens `ids` [N, S] at `positions` [N or 1, S].

    `attend(layer, qkv)` is attention: queries, keys and values [N, S, heads + 2 kv, d] -> [N, S, heads * d].
    With `recompute` a layer keeps its input alone and computes the rest again in the backward pass.
    """
    c, x = model.config, model.embed_tokens(ids)  # [N, S, H]
    turns = turns_at(positions, c, x.dtype)[:, :, None]  # [N or 1, S, 1, d / 2]
    for i, layer in enumerate(model.layers):
        arguments = layer, x, turns, lambda qkv, i=i: attend(i, qkv)
        if recompute and torch.is_grad_enabled():
            x = checkpoint(layer_states, *arguments, use_reentrant=False)
        else:
            x = layer_states(*arguments)
    return rms_norm(x, model.norm)


def layer_states(layer: Layer, x: Tensor, turns: Tensor, attend: Callable) -> Tensor:
    a, mlp = layer.self_attn, layer.mlp
    qkv = joint_linear(rms_norm(x, layer.input_layernorm), a.q_proj, a.k_proj, a.v_proj)
    heads, kv = (projection.out_features // a.head_dim for projection in (a.q_proj, a.k_proj))
    qk, v = qkv.unflatten(-1, (-1, a.head_dim)).split((heads + kv, kv), dim=2)  # [N, S, .., d]
    if isinstance(a.q_norm, RMSNorm):
        q, k = qk.split((heads, kv), dim=2)
        qk = torch.cat((rms_norm(q, a.q_norm), rms_norm(k, a.k_norm)), dim=2)
    x = x + a.o_proj(attend(torch.cat((turned(qk, turns), v), dim=2)))
    gate_up = joint_linear(rms_norm(x, layer.post_attention_layernorm), mlp.gate_proj, mlp.up_proj)
    gate, up = gate_up.chunk(2, dim=-1)
    return x + mlp.down_proj(F.silu(gate) * up)


def turns_at(positions: Tensor, config: QwenConfig, dtype: torch.dtype) -> Tensor:
    """RoPE's angles at `positions` [N, S] as complex numbers of length one, [N, S, d / 2], no bfloat16."""
    dtype = torch.promote_types(dtype, torch.float32)
    return torch.complex(*rope_angles(positions, config.head_dim, config.rope_theta, dtype))


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """RoPE as a product of complex numbers: x_i + i x_{i + d/2}, times a turn.

    What was turned together lies side by side then, in queries and keys alike: their products are the same.
    """
    pairs = torch.complex(*x.to(turns.real.dtype).chunk(2, dim=-1)) * turns
    return torch.view_as_real(pairs).flatten(-2).to(x.dtype)


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None,
              scale: float | None = None) -> Tensor:
    """Queries [n, T, heads, d] over keys and values [n, S, kv, d]: [n, T, heads * d]

    `bias` [n, 1, T, S] is added to the scores, -inf where a query may not look; without it each sees itself
    and those before. `scale` multiplies the scores, by default 1 / sqrt(d).
    """
    q, k, v = (states.transpose(1, 2) for states in (q, k, v))  # [n, heads or kv, T or S, d]
    with torch.autocast(q.device.type, enabled=False):
        if bias is not None and q.dtype == torch.bfloat16:
            # a CPU's kernel takes several times as long for the gradient; the scores are not kept either
            mixed = checkpoint(products, q, k, v, bias, use_reentrant=False)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, bias, is_causal=bias is None, scale=scale,
                                                   enable_gqa=True)
    return mixed.transpose(1, 2).flatten(2)


def products(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """t1mini.model.attend as two products: the queries that share a key stand side by side."""
    kv, T = k.shape[1], q.shape[2]
    grouped = (q * q.shape[-1] ** -0.5).unflatten(1, (kv, -1)).flatten(2, 3)  # [n, kv, g * T, d]
    scores = (grouped @ k.mT).unflatten(2, (-1, T)) + bias[:, None]  # [n, kv, g, T, S]
    return (scores.softmax(-1).flatten(2, 3) @ v).unflatten(2, (-1, T)).flatten(1, 2)


def joint_linear(x: Tensor, *linears: nn.Linear) -> Tensor:
    """Their outputs side by side, as one matrix product."""
    bias = torch.cat([linear.bias for linear in linears]) if linears[0].bias is not None else None
    return F.linear(x, torch.cat([linear.weight for linear in linears]), bias)


def rms_norm(x: Tensor, norm: RMSNorm) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.eps)
