"""The engine: one token for every row as fast as the machine allows. It computes what t1mini.model computes.

    fused weights   q, k and v in one matrix product, gate and up in another; the norms' weights multiplied
                    into them, once a rollout; bfloat16 copies where the model computes in bfloat16
    shared prompt   a prompt's keys and values are kept once; its K responses attend to them together, as one
                    matrix product. Scores over prompt and own tokens meet before the softmax: it is exact
    own tokens      a row's keys and values, in a cache as wide as the longest response so far: a product over
                    a part of a block would copy it. `bias` hides what a row has not written yet

Left out: any decision. Which response sits in which row, and when it leaves, is t1mini.fast.schedule's. The
plain way, t1mini.model with t1mini.kv_cache, is its slow twin. A step runs no Python that depends on data,
so a GPU can replay it as a graph.

See them agree: python -m pytest tests/fast/test_twins.py; what it buys: python -m t1mini bench rollout
"""

from collections import Counter
from typing import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.fast.forward import attention, turned, turns_at
from t1mini.model import Layer, Qwen
from t1mini.runs.batches import length_mask, pad

BUCKET = {"cpu": 8, "cuda": 128}  # tokens by which the cache grows: each time a copy, on a GPU a new graph
PREFILL_TOKENS = 16384  # of prompts that go through the model together


class Engine:
    """Decodes `rows` responses at once, each beside one of the prompts in `slots`, at most k beside the same.

    Prompts have at most `prompt_len` tokens, prompt and response together at most `longest`.
    """

    def __init__(self, model: Qwen, rows: int, slots: int, k: int, prompt_len: int, longest: int):
        self.model, self.config, self.device, c = model, model.config, model.device, model.config
        self.dtype = model.compute_dtype
        self.wide = torch.promote_types(model.dtype, torch.float32)
        self.bucket = BUCKET[self.device.type]
        self.layers = [self.fuse(layer) for layer in model.layers]
        self.head = self.joined(model.norm.weight, model.head_weight)
        self.shorter = c.head_dim**-0.25  # queries and keys each, so that their products are by sqrt(d)
        positions = torch.arange(longest, device=self.device)[None]
        self.turns = turns_at(positions, c, self.wide)[0] * self.shorter  # [longest, d / 2]

        empty = lambda *shape: torch.zeros(shape, dtype=self.dtype, device=self.device)
        kv, d = c.num_key_value_heads, c.head_dim
        self.k, self.slots = k, slots
        # keys and values of each layer
        self.prompts = [empty(2, slots, kv, prompt_len, d) for _ in self.layers]  # [2, slots, kv, S, d]
        self.own = [empty(2, rows, kv, 0, d) for _ in self.layers]  # [2, n, kv, C, d]
        self.prompt_lengths = torch.ones(slots, dtype=torch.long, device=self.device)
        self.bias = empty(rows, prompt_len)  # [n, S + C]: 0 where a row may look, else -inf
        self.start = torch.ones(rows, dtype=torch.long, device=self.device)  # where a row's response begins
        self.column = torch.zeros_like(self.start)  # tokens of it that went through
        self.row_at = torch.zeros(slots * kv * k, dtype=torch.long, device=self.device)  # see arrange
        self.place_of = torch.zeros(rows * kv, dtype=torch.long, device=self.device)

    def fuse(self, layer: Layer) -> dict[str, Tensor | None]:
        """A layer's weights, joined."""
        a, mlp = layer.self_attn, layer.mlp
        heads = a.q_proj, a.k_proj, a.v_proj
        bias = torch.cat([m.bias for m in heads]).detach().to(self.dtype) if self.config.qkv_bias else None
        return {"qkv": self.joined(layer.input_layernorm.weight, *(m.weight for m in heads)), "bias": bias,
                "gate_up": self.joined(layer.post_attention_layernorm.weight, mlp.gate_proj.weight,
                                       mlp.up_proj.weight),
                "out": self.joined(1.0, a.o_proj.weight), "down": self.joined(1.0, mlp.down_proj.weight)}

    def joined(self, norm: Tensor | float, *weights: Tensor) -> Tensor:
        """Matrices [.., H] side by side, [H, ..]: a CPU multiplies by that layout sooner.

        The norm before them scales their columns: W (w * x) = (W w) x.
        """
        return (torch.cat(weights) * norm).detach().to(self.dtype).T.contiguous()

    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Puts prompts into slots. Returns the logits after each [len(prompts), V]."""
        heads, kv, logits = self.config.num_attention_heads, self.config.num_key_value_heads, []
        at_once = max(1, PREFILL_TOKENS // max(map(len, prompts)))
        for start in range(0, len(prompts), at_once):
            chunk = prompts[start : start + at_once]
            into = torch.tensor(slots[start : start + at_once], device=self.device)
            ids = pad(chunk, 0, self.device)  # [P, S]
            S, lengths = ids.shape[1], torch.tensor([len(prompt) for prompt in chunk], device=self.device)

            def attend(layer: int, qkv: Tensor) -> Tensor:
                q, k, v = qkv.unflatten(0, ids.shape).split((heads, kv, kv), dim=2)  # [P, S, heads or kv, d]
                self.prompts[layer][:, into, :, :S] = torch.stack((k, v)).transpose(2, 3)
                return attention(q, k, v, scale=1.0).flatten(0, 1)

            x = self.layers_of(ids.flatten(), self.turns[:S].repeat(len(ids), 1), attend)  # [P * S, H]
            ends = torch.arange(len(ids), device=self.device) * S + lengths - 1
            logits.append(self.logits(F.embedding(ends, x)))
            self.prompt_lengths[into] = lengths
        return torch.cat(logits)

    def begin(self, rows: Tensor, slots: Tensor):
        """Rows [m] begin anew beside the prompts in slots [m]: they see their prompt and nothing else."""
        self.start[rows], self.column[rows] = self.prompt_lengths[slots], 0
        visible = length_mask(self.start[rows], self.bias.shape[1])  # [m, S + C]
        self.bias[rows] = torch.where(visible, 0.0, -torch.inf).to(self.dtype)

    def arrange(self, slots: Sequence[int | None]):
        """Rows stand side by side at their prompts' slots: `row_at` each place, `place_of` each row."""
        beside, places, standing = Counter(), [0] * len(slots), [0] * (self.slots * self.k)
        for row, slot in enumerate(slots):
            if slot is not None:
                places[row] = place = slot * self.k + beside[slot]
                standing[place] = row
                beside[slot] += 1
        places, standing = torch.tensor(places)[:, None], torch.tensor(standing).view(-1, 1, self.k)
        kv = torch.arange(self.config.num_key_value_heads)
        self.row_at.copy_((standing * len(kv) + kv[:, None]).flatten())
        self.place_of.copy_(((places // self.k * len(kv) + kv) * self.k + places % self.k).flatten())

    def select(self, rows: Tensor, slots: Tensor, k: int, width: int):
        """Keeps `rows` [m], their first `width` tokens, and the prompts in `slots`, k rows beside each."""
        width = min(self.rounded(width), self.own[0].shape[3])
        for i, states in enumerate(self.own):  # a layer at a time, so that there never are two caches
            self.own[i] = states[:, rows, :, :width]
        if len(slots) < self.slots:
            self.prompts = [states[:, slots] for states in self.prompts]
        self.slots, self.k = len(slots), k
        self.bias = self.bias[rows, : self.prompts[0].shape[3] + width]
        self.start, self.column = self.start[rows], self.column[rows]
        kv = self.config.num_key_value_heads
        self.row_at, self.place_of = self.row_at[: len(slots) * kv * k], self.place_of[: len(rows) * kv]

    def reserve(self, width: int) -> bool:
        """Makes room for responses of `width` tokens. True if the cache had to grow."""
        more = max(0, self.rounded(width) - self.own[0].shape[3])
        for i, states in enumerate(self.own if more else ()):
            self.own[i] = F.pad(states, (0, 0, 0, more))
        self.bias = F.pad(self.bias, (0, more), value=-torch.inf) if more else self.bias
        return more > 0

    def rounded(self, width: int) -> int:
        return -(-width // self.bucket) * self.bucket

    def step(self, token: Tensor) -> Tensor:
        """The logits [n, V] after one more token [n] a row."""
        n, S, C = len(token), self.prompts[0].shape[3], self.own[0].shape[3]
        heads, kv = self.config.num_attention_heads, self.config.num_key_value_heads
        # rows that have ended may run past the cache, and past what RoPE was prepared for
        column = self.column.clamp(max=C - 1)
        position = (self.start + column).clamp(max=len(self.turns) - 1)
        self.bias.scatter_(1, S + column[:, None], 0.0)
        blocks = torch.arange(2 * n * kv, device=self.device).view(2, n, kv).transpose(0, 1) * C
        at = (blocks + column[:, None, None]).flatten()  # where each row's keys and values go

        def attend(layer: int, qkv: Tensor) -> Tensor:
            self.own[layer].flatten(0, 3).index_copy_(0, at, qkv[:, heads:].flatten(0, 1))
            return self.attend(layer, qkv[:, :heads])

        x = self.layers_of(token, self.turns.index_select(0, position), attend)
        self.column.add_(1)
        return self.logits(x)

    def layers_of(self, token: Tensor, turns: Tensor, attend: Callable) -> Tensor:
        """All layers' work on tokens [n] with RoPE's `turns` [n, d / 2]: the states after the last [n, H].

        `attend(layer, qkv)` is attention: queries, keys, values [n, heads + 2 kv, d] -> [n, heads * d].
        """
        c, x = self.config, F.embedding(token, self.model.embed_tokens.weight).to(self.wide)  # [n, H]
        heads, kv = c.num_attention_heads, c.num_key_value_heads
        for i, (layer, w) in enumerate(zip(self.model.layers, self.layers)):
            qkv = F.linear(self.normed(x), w["qkv"].T, w["bias"]).view(len(x), -1, c.head_dim)
            qk = qkv[:, : heads + kv].to(self.wide)
            if c.qk_norm:
                q, k = qk.split((heads, kv), dim=1)
                qk = torch.cat((layer.self_attn.q_norm(q), layer.self_attn.k_norm(k)), dim=1)
            qkv[:, : heads + kv] = turned(qk, turns[:, None])
            x = self.add_product(x, attend(i, qkv), w["out"])
            gate, up = (self.normed(x) @ w["gate_up"]).chunk(2, dim=-1)
            x = self.add_product(x, F.silu(gate, inplace=True).mul_(up), w["down"])
        return x

    def logits(self, x: Tensor) -> Tensor:
        """[n, H] -> [n, V]"""
        return self.normed(x) @ self.head

    def normed(self, x: Tensor) -> Tensor:
        """RMSNorm without its weight, which is in the next matrix."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)  # on a CPU sooner than F.rms_norm
        return (x * (norm * norm / x.shape[-1] + self.config.rms_norm_eps).rsqrt()).to(self.dtype)

    def add_product(self, x: Tensor, a: Tensor, w: Tensor) -> Tensor:
        """x + a @ w, in x."""
        return x.addmm_(a, w) if x.dtype == a.dtype else x.add_(a @ w)

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """q [n, heads, d] over the prompt's and the row's own keys and values: [n, heads * d]"""
        n, heads, d = q.shape
        prompt_keys, prompt_values = self.prompts[layer].flatten(1, 2)  # [slots * kv, S, d]
        keys, values = self.own[layer].flatten(1, 2)  # [n * kv, C, d]
        kv, S = self.config.num_key_value_heads, prompt_keys.shape[1]
        q = q.reshape(n * kv, -1, d)  # [n * kv, g, d]
        prompt = self.to_prompts(q) @ prompt_keys.mT  # [slots * kv, k * g, S]
        own = q @ keys.mT  # [n * kv, g, C]
        p = torch.cat((self.from_prompts(prompt), own), dim=-1).view(n, heads, -1)
        p = p.add_(self.bias[:, None]).softmax(-1).view(n * kv, -1, p.shape[-1])
        prompt = self.to_prompts(p[..., :S]) @ prompt_values
        own = p[..., S:] @ values
        return own.add_(self.from_prompts(prompt)).view(n, heads * d)

    def to_prompts(self, x: Tensor) -> Tensor:
        """Rows [n * kv, g, ..] side by side at their prompts: [slots * kv, k * g, ..]"""
        grid = F.embedding(self.row_at, x.flatten(1))
        return grid.view(-1, self.k * x.shape[1], x.shape[2])

    def from_prompts(self, x: Tensor) -> Tensor:
        """The way back, to [n * kv, g, ..]."""
        grid = F.embedding(self.place_of, x.view(len(self.row_at), -1))
        return grid.view(len(grid), -1, x.shape[-1])


class Replayed:
    """Calls `work`: on a GPU as a graph, captured at the second call after `forget`. The first warms up."""

    def __init__(self, work: Callable, device: torch.device):
        self.work, self.on_gpu = work, device.type == "cuda"
        self.forget()

    def forget(self):
        """The tensors that `work` reads or writes have been replaced."""
        self.calls, self.graph = 0, None

    def __call__(self):
        if self.on_gpu and self.calls == 1:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):  # notes the kernels, runs none
                self.work()
        if self.graph is not None:
            self.graph.replay()
        else:
            self.work()
        self.calls += 1
