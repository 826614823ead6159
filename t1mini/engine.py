"""The engine: one token for every row as fast as the machine allows. It computes what t1mini.model computes, arranged for decoding.

    fused weights   q, k and v in one matrix product, gate and up in another; norm weights multiplied into the matrices behind
                    them, once a rollout; bfloat16 copies where the model computes in bfloat16
    shared prompt   a prompt's keys and values are kept once; its K responses attend to them together, as one matrix product.
                    Scores over prompt and own tokens are joined before the softmax, so nothing is approximated
    columns         all rows of a batch begin together, so a step writes one column of the cache: a copy, not a scatter. The cache
                    grows by BUCKET columns, and shrinks when finished rows leave
    layout          keys lie as [.., head_dim, columns]: q @ k reads them in the order they have

The plain path, t1mini.model with t1mini.kv_cache, is its slow twin.

See them agree: python -m pytest tests/test_engine.py
"""

import contextlib
from collections import Counter
from itertools import accumulate
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.batching import pad
from t1mini.model import Qwen, rope_angles

BUCKET = 32  # columns by which the cache grows


class Engine:
    """Decodes several rows for each of several prompts. `rows` names each row's prompt, in ascending order."""

    def __init__(self, model: Qwen):
        self.model, self.config = model, model.config
        kind = model.device.type
        casts = torch.is_autocast_enabled(kind)
        self.dtype = torch.get_autocast_dtype(kind) if casts else model.dtype
        # prefill keeps no bfloat16 copies of the model's weights beside the fused ones
        self.uncached = lambda: torch.autocast(kind, self.dtype, cache_enabled=False) if casts else contextlib.nullcontext()
        self.layers = [self.fuse(layer) for layer in model.layers]
        self.head = (model.head_weight * model.norm.weight).detach().to(self.dtype)

    def fuse(self, layer) -> dict[str, Tensor | None]:
        """A layer's weights, joined. Norms scale their matrices' columns: W (w * x) = (W w) x."""
        attention, mlp = layer.self_attn, layer.mlp
        qkv, gate_up = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
        joined = {
            "qkv": torch.cat([m.weight for m in qkv]) * layer.input_layernorm.weight, "out": attention.o_proj.weight,
            "gate_up": torch.cat([m.weight for m in gate_up]) * layer.post_attention_layernorm.weight, "down": mlp.down_proj.weight,
            "bias": torch.cat([m.bias for m in qkv]) if self.config.qkv_bias else None, "qk_norm": None}
        if self.config.qk_norm:  # [heads + kv_heads, d]
            heads = self.config.num_attention_heads, self.config.num_key_value_heads
            joined["qk_norm"] = torch.cat([norm.weight.expand(h, -1) for norm, h in zip((attention.q_norm, attention.k_norm), heads)])
        return {name: w if w is None else w.detach().to(w.dtype if name == "qk_norm" else self.dtype) for name, w in joined.items()}

    # --- rows come and go -------------------------------------------------------------------------------------------

    def begin(self, prompts: Sequence[Sequence[int]], k: int) -> Tensor:
        """Prefills the prompts, each once, for k rows each. Returns the rows' first logits [P * k, V]."""
        device, c, n = self.model.device, self.config, len(prompts) * k
        self.lengths, self.column = list(map(len, prompts)), 0
        ids, lengths = pad(prompts, 0, device), torch.tensor(self.lengths, device=device)  # [P, S], [P]
        cache = self.model.new_cache(*ids.shape)
        with self.uncached():
            hidden = self.model.hidden(ids, cache, lengths)  # [P, S, H]
            last = hidden[torch.arange(len(prompts), device=device), lengths - 1]
            logits = F.linear(last, self.model.head_weight)
        self.prompt_keys = [keys.transpose(-1, -2).contiguous() for keys in cache.keys]  # a layer: [P, kv_heads, d, S]
        self.prompt_values = list(cache.values)  # [P, kv_heads, S, d]
        self.keys = [torch.empty(n, c.num_key_value_heads, c.head_dim, 0, dtype=self.dtype, device=device) for _ in self.layers]
        self.values = [keys.transpose(-1, -2) for keys in self.keys]
        self.arrange([p for p in range(len(prompts)) for _ in range(k)])
        return logits.repeat_interleave(k, dim=0)

    def select(self, live: Tensor) -> None:
        """Keeps only the rows `live` [m], in ascending order, and the prompts they belong to."""
        rows = [self.rows[i] for i in live.tolist()]
        kept = sorted(set(rows))
        place = {prompt: i for i, prompt in enumerate(kept)}
        if len(kept) < len(self.lengths):
            prompts = torch.tensor(kept, device=live.device)
            self.prompt_keys = [keys[prompts] for keys in self.prompt_keys]
            self.prompt_values = [values[prompts] for values in self.prompt_values]
            self.lengths = [self.lengths[p] for p in kept]
        for states in (self.keys, self.values):  # a layer at a time, so that there never are two caches
            for i in range(len(states)):
                states[i] = states[i][live]
        self.arrange([place[row] for row in rows])

    def arrange(self, rows: list[int]) -> None:
        """What depends on which rows there are: each row's place beside its prompt's other rows, its position, its padding."""
        self.rows, counts, device = rows, Counter(rows), self.model.device
        self.beside = max(counts.values())  # rows beside one another at a prompt, at most
        first = list(accumulate((counts[p] for p in range(len(self.lengths))), initial=0))
        slots = [row * self.beside + i - first[row] for i, row in enumerate(rows)]
        self.slot = None if slots == list(range(len(self.lengths) * self.beside)) else torch.tensor(slots, device=device)  # [n]
        lengths = torch.tensor([self.lengths[row] for row in rows], device=device)
        self.position = lengths[:, None]  # of column 0
        S = self.prompt_keys[0].shape[-1]
        self.padding = None if min(self.lengths) == S else (torch.arange(S, device=device) >= lengths[:, None])[:, None, None]  # [n, 1, 1, S]

    def grow(self) -> None:
        """Room for another BUCKET columns, a layer at a time."""
        for i in range(len(self.keys)):
            self.keys[i] = F.pad(self.keys[i], (0, BUCKET))
            self.values[i] = F.pad(self.values[i], (0, 0, 0, BUCKET))

    # --- one token --------------------------------------------------------------------------------------------------

    def step(self, token: Tensor) -> Tensor:
        """The logits [n, V] after one more token [n] a row."""
        c, n = self.config, len(token)
        if self.column == self.keys[0].shape[-1]:
            self.grow()
        x = F.embedding(token, self.model.embed_tokens.weight)  # [n, H], in the weights' precision
        cos, sin = (x.squeeze(2) for x in rope_angles(self.position + self.column, c.head_dim, c.rope_theta, x.dtype))  # [n, 1, d / 2]
        heads, kv = c.num_attention_heads, c.num_key_value_heads
        for i, w in enumerate(self.layers):
            qkv = F.linear(self.normed(x), w["qkv"], w["bias"]).view(n, heads + 2 * kv, c.head_dim)
            qk = qkv[:, : heads + kv].to(x.dtype)
            if w["qk_norm"] is not None:
                qk = self.unit(qk) * w["qk_norm"]
            a, b = qk.chunk(2, dim=-1)
            qk = torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(self.dtype)  # RoPE
            self.keys[i][..., self.column] = qk[:, heads:]
            self.values[i][:, :, self.column] = qkv[:, heads + kv :]
            x = x + F.linear(self.attend(i, qk[:, :heads]), w["out"])
            gate, up = F.linear(self.normed(x), w["gate_up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate).mul_(up), w["down"])
        self.column += 1
        return F.linear(self.normed(x), self.head)

    def unit(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.config.rms_norm_eps)

    def normed(self, x: Tensor) -> Tensor:
        """RMSNorm without its weight, which is in the next matrix."""
        return self.unit(x).to(self.dtype)

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """q [n, heads, d] over the prompt's and the row's own keys and values: [n, heads * d]"""
        n, heads, d = q.shape
        kv, S, width = self.config.num_key_value_heads, self.prompt_keys[0].shape[-1], self.column + 1
        q = q.reshape(n, kv, -1, d) * d**-0.5  # [n, kv, g, d]
        prompt = self.to_rows(self.to_prompts(q) @ self.prompt_keys[layer])  # [n, kv, g, S]
        if self.padding is not None:
            prompt = prompt.masked_fill(self.padding, -torch.inf)
        own = q @ self.keys[layer][..., :width]  # [n, kv, g, width]
        p = torch.cat((prompt, own), dim=-1)
        p = p.softmax(-1, dtype=torch.promote_types(p.dtype, torch.float32)).to(self.dtype)
        mixed = self.to_rows(self.to_prompts(p[..., :S]) @ self.prompt_values[layer]) + p[..., S:] @ self.values[layer][:, :, :width]
        return mixed.reshape(n, heads * d)

    def to_prompts(self, x: Tensor) -> Tensor:
        """Rows [n, kv, g, ..] side by side at their prompts: [P, kv, beside * g, ..]"""
        if self.slot is not None:
            x = x.new_zeros(len(self.lengths) * self.beside, *x.shape[1:]).index_copy_(0, self.slot, x)
        return x.unflatten(0, (-1, self.beside)).transpose(1, 2).flatten(2, 3)

    def to_rows(self, x: Tensor) -> Tensor:
        """The way back."""
        x = x.unflatten(2, (self.beside, -1)).transpose(1, 2).flatten(0, 1)
        return x if self.slot is None else F.embedding(self.slot, x.flatten(1)).view(-1, *x.shape[1:])
