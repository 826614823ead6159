"""The decoder: Qwen2, Qwen2.5, Qwen3 and Llama in one file, chosen by config.

    x = embedding(ids)
    for each layer:  x = x + attention(norm(x));  x = x + mlp(norm(x))
    logits = norm(x) @ lm_head

    RMSNorm     x / sqrt(mean(x^2) + eps) * weight                       no mean subtracted, no bias
    RoPE        queries and keys are turned by an angle proportional to their position: q.k sees only distance
    attention   softmax(q k^T / sqrt(head_dim)) v, query heads in groups sharing a key/value head
    SwiGLU      down(silu(gate(x)) * up(x))

What differs: Qwen2 has a bias on q, k, v. Llama (SmolLM2, TinyLlama) has none. Qwen3 has none either, but
normalises each head's q and k, and head_dim is free. The output matrix is the embedding itself where
`tie_word_embeddings` says so.

Left out: sliding windows, RoPE scaling, other biases, dropout (the small checkpoints use none of them; the
config check says so). Parameter names follow the Hugging Face checkpoints without their "model." prefix.
t1mini.fast computes the same sooner.

See it match transformers' logits: python -m pytest tests/test_model.py
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t1mini.kv_cache import KVCache


@dataclass(frozen=True)
class QwenConfig:
    """A decoder's shape. t1mini.runs.checkpoint reads and writes it as a Hugging Face config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    qkv_bias: bool = True  # Qwen2; with neither it is a Llama
    qk_norm: bool = False  # Qwen3
    tie_word_embeddings: bool = True
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # squares of bfloat16 lose too much
        normed = wide * (wide.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return normed.to(x.dtype) * self.weight.to(x.dtype)


def rope_angles(positions: Tensor, head_dim: int, theta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin of position * theta^(-2i/head_dim) for `positions` [N, S]: each [N, S, head_dim/2]."""
    pairs = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float64)
    angles = positions[:, :, None] * theta ** (-pairs / head_dim)  # [N, S, head_dim/2]
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rope(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turns each pair (x_i, x_{i + head_dim/2}) of `x` [N, heads, S, head_dim] by its angle (RoFormer)."""
    cos, sin = (angle.unsqueeze(1) for angle in angles)  # [N, 1, S, head_dim/2]
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v: for each query the mean of the values it sees, weighted by their keys.

    q [N, heads, S, d], k and v [N, kv_heads, T, d], mask [N or 1, 1, S, T], True where a query may look.
    """
    N, heads, S, d = q.shape
    grouped = q.reshape(N, k.shape[1], -1, S, d)  # query heads by the key/value head they share
    scores = grouped @ k.unsqueeze(2).transpose(-1, -2) / d**0.5  # [N, kv_heads, group, S, T]
    weights = scores.masked_fill(~mask.unsqueeze(2), float("-inf")).softmax(dim=-1)
    return (weights @ v.unsqueeze(2)).reshape(N, heads, S, d)


class Attention(nn.Module):
    def __init__(self, config: QwenConfig, layer: int):
        super().__init__()
        self.layer, self.head_dim = layer, config.head_dim
        query_size = config.num_attention_heads * config.head_dim
        kv_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv_size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(query_size, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps) if config.qk_norm else nn.Identity()

    def heads(self, x: Tensor) -> Tensor:
        """[N, S, heads * d] -> [N, heads, S, d]"""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x: Tensor, angles, mask: Tensor, cache: KVCache | None, positions: Tensor) -> Tensor:
        """x [N, S, H]; angles are `rope_angles`', mask [N or 1, 1, S, T]."""
        q = rope(self.q_norm(self.heads(self.q_proj(x))), angles)  # [N, heads, S, d]
        k = rope(self.k_norm(self.heads(self.k_proj(x))), angles)  # [N, kv_heads, S, d]
        v = self.heads(self.v_proj(x))
        if cache is not None:
            k, v = cache.write(self.layer, k, v, positions)  # [N, kv_heads, T, d]
        mixed = attend(q, k, v, mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, config: QwenConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, config: QwenConfig, layer: int):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, angles, mask: Tensor, cache: KVCache | None, positions: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), angles, mask, cache, positions)
        return x + self.mlp(self.post_attention_layernorm(x))


class Qwen(nn.Module):
    """input_ids [N, T] -> logits [N, T, V]. Rows shorter than T are padded on the right with any id."""

    def __init__(self, config: QwenConfig):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, input_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        return F.linear(self.hidden(input_ids, cache), self.head_weight)

    def hidden(self, input_ids: Tensor, cache: KVCache | None = None,
               lengths: Tensor | None = None) -> Tensor:
        """The last layer's normalised states [N, S, H], before the output matrix.

        Without a cache, `input_ids` [N, S] is the whole sequence. With one, it is what follows the cached
        tokens, and the cache is advanced by S tokens a row, or by `lengths` [N] where rows are padded on the
        right.
        """
        S = input_ids.shape[1]
        if cache is None:
            positions = torch.arange(S, device=input_ids.device)[None]  # [1, S]
            mask = (positions <= positions.T)[None, None]  # [1, 1, S, S]: itself and what comes before
        else:
            positions = cache.positions(S)  # [N, S]
            mask = cache.mask(positions)  # [N, 1, S, T]
        x = self.embed_tokens(input_ids)  # [N, S, H]
        angles = rope_angles(positions, self.config.head_dim, self.config.rope_theta, x.dtype)
        for layer in self.layers:
            x = layer(x, angles, mask, cache, positions)
        if cache is not None:
            cache.advance(S if lengths is None else lengths, cache.longest + S)
        return self.norm(x)

    def new_cache(self, rows: int, capacity: int) -> KVCache:
        """An empty cache, in the dtype that attention computes in."""
        c = self.config
        return KVCache(c.num_hidden_layers, rows, c.num_key_value_heads, capacity, c.head_dim,
                       self.compute_dtype, self.device)

    def initialise(self, seed: int) -> "Qwen":
        """Random weights: normal(0, initializer_range), into the residual stream over sqrt(2 * layers)."""
        generator = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.ndim == 1:
                nn.init.constant_(p, 0.0 if name.endswith("bias") else 1.0)
            else:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * self.config.num_hidden_layers) ** -0.5 if residual else 1.0
                nn.init.normal_(p, std=self.config.initializer_range * scale, generator=generator)
        return self

    @property
    def head_weight(self) -> Tensor:
        """The output matrix [V, H]."""
        return self.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight

    @property
    def device(self) -> torch.device:
        return self.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embed_tokens.weight.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """Autocast's within it, else the weights'."""
        kind = self.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.dtype
