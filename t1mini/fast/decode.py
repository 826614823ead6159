"""The engine: one token for every row as fast as the machine allows. It computes what t1mini.model computes, arranged for decoding.

    fused weights   q, k and v in one matrix product, gate and up in another; norm weights and the 1/sqrt(d) of attention multiplied
                    into the matrices, once a rollout; bfloat16 copies where the model computes in bfloat16
    shared prompt   a prompt's keys and values are kept once; its K responses attend to them together, as one matrix product.
                    Scores over prompt and own tokens are joined before the softmax, so nothing is approximated
    columns         every step writes one column of the cache, the same for all rows, whenever they began: attention does not ask in
                    which order keys lie (RoPE is in them), and `bias` hides from a row what was there before it. A column that no
                    row needs any more is used again; where none is free the cache grows by BUCKET
    RoPE            weights are reordered so that the pairs it rotates lie side by side: one complex product turns them

Together they take 1.7 s where the model with its cache takes 2.6, at the shape of t1mini.lab.bench, whose header says what else was tried.

Left out: any decision. Which response sits in which row, and when it leaves, is t1mini.fast.schedule's. The plain path, t1mini.model
with t1mini.kv_cache, is its slow twin. A step runs no Python that depends on data, so a GPU can replay it as a graph.

See them agree: python -m pytest tests/test_engine.py
"""

import contextlib
from collections import Counter
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.runs.batches import pad
from t1mini.model import Qwen, rope_angles

BUCKET = {"cpu": 8, "cuda": 128}  # columns by which the cache grows: a copy each time, and on a GPU a new graph
PREFILL_TOKENS = 16384  # of prompts that go through the model together


class Engine:
    """Decodes `rows` responses at once to prompts in `slots`, each of at most `prompt_len` tokens and in all `longest`.

    A row sits at a place of the grid [slots, k]: its prompt's slot, and where it stands beside the prompt's other rows.
    """

    def __init__(self, model: Qwen, rows: int, slots: int, k: int, prompt_len: int, longest: int):
        self.model, self.config, self.device = model, model.config, model.device
        kind, c = self.device.type, model.config
        casts = torch.is_autocast_enabled(kind)
        self.dtype = torch.get_autocast_dtype(kind) if casts else model.dtype
        self.wide = torch.promote_types(model.dtype, torch.float32)
        # prefill keeps no bfloat16 copies of the model's weights beside the fused ones
        self.uncached = lambda: torch.autocast(kind, self.dtype, cache_enabled=False) if casts else contextlib.nullcontext()
        self.replayable = kind == "cuda"  # a step must name its column by a tensor, for a graph to find it there
        self.bucket = BUCKET.get(kind, BUCKET["cpu"])
        self.pairs = torch.arange(c.head_dim, device=self.device).view(2, -1).T.flatten()  # 0, d/2, 1, d/2 + 1, ...
        self.layers = [self.fuse(layer) for layer in model.layers]
        self.head = (model.head_weight * model.norm.weight).detach().to(self.dtype)
        self.eps = torch.full((), c.rms_norm_eps, dtype=self.wide, device=self.device)
        cos, sin = rope_angles(torch.arange(longest + 1, device=self.device)[None], c.head_dim, c.rope_theta, self.wide)
        self.rotations = torch.stack((cos, sin), dim=-1)[0, :, 0].flatten(1)  # [longest + 1, d], cos and sin side by side

        empty = lambda *shape: torch.zeros(shape, dtype=self.dtype, device=self.device)
        self.k, self.slots = k, slots
        self.prompt_keys = [empty(slots, c.num_key_value_heads, prompt_len, c.head_dim) for _ in self.layers]  # [slots, kv, S, d]
        self.prompt_values = [torch.zeros_like(keys) for keys in self.prompt_keys]
        self.prompt_lengths = torch.ones(slots, dtype=torch.long, device=self.device)
        self.keys = [empty(rows, c.num_key_value_heads, 0, c.head_dim) for _ in self.layers]  # [n, kv, C, d]
        self.values = [torch.zeros_like(keys) for keys in self.keys]
        self.bias = torch.zeros(rows, 1, 1, prompt_len, dtype=self.dtype, device=self.device)  # [n, 1, 1, S + C], 0 or -inf
        self.position = torch.zeros(rows, dtype=torch.long, device=self.device)  # of the next token
        self.place = torch.arange(rows, device=self.device) % (slots * k)  # [n] in the grid
        self.in_order = rows == slots * k  # row i sits at place i
        self.column = torch.zeros(1, dtype=torch.long, device=self.device)  # that the next step writes
        self.steps, self.written, self.free = 0, [], []  # steps taken; the last that wrote each column; columns to use next

    def fuse(self, layer) -> dict[str, Tensor | None]:
        """A layer's weights, joined. Norms scale their matrices' columns: W (w * x) = (W w) x."""
        attention, mlp, c = layer.self_attn, layer.mlp, self.config
        scale, norm = c.head_dim**-0.5, layer.input_layernorm.weight
        paired = lambda x: x.unflatten(0, (-1, c.head_dim))[:, self.pairs].flatten(0, 1)
        q, k, v = ((m.weight * norm, m.bias) for m in (attention.q_proj, attention.k_proj, attention.v_proj))
        q_scale = 1.0 if c.qk_norm else scale  # a norm would undo it
        joined = {"qkv": torch.cat([paired(q[0]) * q_scale, paired(k[0]), v[0]]), "out": attention.o_proj.weight.T,
                  "gate_up": torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight,
                  "down": mlp.down_proj.weight.T, "bias": None, "qk_norm": None}
        if c.qkv_bias:
            joined["bias"] = torch.cat([paired(q[1]) * q_scale, paired(k[1]), v[1]])
        if c.qk_norm:  # [heads + kv, d]
            joined["qk_norm"] = torch.cat([(attention.q_norm.weight * scale)[self.pairs].expand(c.num_attention_heads, -1),
                                           attention.k_norm.weight[self.pairs].expand(c.num_key_value_heads, -1)])
        return {name: w if w is None else w.detach().to(self.wide if name == "qk_norm" else self.dtype) for name, w in joined.items()}

    # --- prompts and rows come and go -------------------------------------------------------------------------------

    def prefill(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Tensor:
        """Puts prompts into slots. Returns the logits after each [len(prompts), V]."""
        logits, at_once = [], max(1, PREFILL_TOKENS // max(map(len, prompts)))
        for start in range(0, len(prompts), at_once):
            chunk, into = prompts[start : start + at_once], torch.tensor(slots[start : start + at_once], device=self.device)
            ids, lengths = pad(chunk, 0, self.device), torch.tensor([len(p) for p in chunk], device=self.device)  # [P, S], [P]
            with self.uncached():
                cache = self.model.new_cache(*ids.shape)
                hidden = self.model.hidden(ids, cache, lengths)  # [P, S, H]
                last = F.embedding(torch.arange(len(ids), device=self.device) * ids.shape[1] + lengths - 1, hidden.flatten(0, 1))
                logits.append(F.linear(last, self.model.head_weight))
            for i in range(len(self.layers)):
                self.prompt_keys[i][into, :, : ids.shape[1]] = cache.keys[i][..., self.pairs]
                self.prompt_values[i][into, :, : ids.shape[1]] = cache.values[i]
            self.prompt_lengths[into] = lengths
        return torch.cat(logits)

    def admit(self, rows: list[int], places: list[int]) -> None:
        """Rows [m] begin anew at places [m] of the grid: they see their prompt and nothing else.

        A row that has ended, and stands where one of them is to stand, makes way: no two rows share a place.
        """
        stands, wanted = dict(enumerate(self.place.tolist())) | dict(zip(rows, places)), set(places)
        unused = iter(set(range(self.slots * self.k)) - set(stands.values()))
        for row in stands.keys() - set(rows):
            if stands[row] in wanted:
                stands[row] = next(unused)
        self.place.copy_(torch.tensor([*stands.values()]))
        rows, places = torch.tensor([rows, places], device=self.device)
        lengths = self.prompt_lengths[places // self.k]
        visible = torch.arange(self.bias.shape[-1], device=self.device) < lengths[:, None]  # [m, S + C]
        self.bias[rows] = torch.zeros_like(visible, dtype=self.dtype).masked_fill_(~visible, -torch.inf)[:, None, None]
        self.position[rows] = lengths
        self.in_order = self.in_order and torch.equal(self.place, torch.arange(len(self.place), device=self.device))

    def select(self, live: Tensor, oldest: int) -> None:
        """Keeps only the rows `live` [m], their prompts and the columns written since step `oldest`. No row may be admitted after."""
        for states in (self.keys, self.values):  # a layer at a time, so that there never are two caches
            for i in range(len(states)):
                states[i] = states[i][live]
        self.bias, self.position = self.bias[live], self.position[live]
        self.drop_columns(oldest)
        slots = [place // self.k for place in self.place[live].tolist()]
        kept, beside, places = sorted(set(slots)), Counter(), []
        if len(kept) < self.slots:
            rows = torch.tensor(kept, device=self.device)
            self.prompt_keys, self.prompt_values = [x[rows] for x in self.prompt_keys], [x[rows] for x in self.prompt_values]
        self.slots, self.k = len(kept), max(Counter(slots).values())
        for slot in slots:
            places.append(kept.index(slot) * self.k + beside[slot])
            beside[slot] += 1
        self.place = torch.tensor(places, device=self.device)
        self.in_order = places == list(range(self.slots * self.k))

    def drop_columns(self, oldest: int) -> None:
        """Makes the cache smaller where so many columns were last written before step `oldest` that fewer buckets do."""
        needed = [c for c, step in enumerate(self.written) if step >= oldest]
        width = -(-len(needed) // self.bucket) * self.bucket
        if width == len(self.written):
            return
        kept = [*needed, *sorted(set(range(len(self.written))) - set(needed))][:width]
        self.written, self.free = [self.written[c] for c in kept], []
        columns, S = torch.tensor(kept, device=self.device), self.prompt_keys[0].shape[2]
        for states in (self.keys, self.values):
            for i in range(len(states)):
                states[i] = states[i].index_select(2, columns)
        self.bias = torch.cat((self.bias[..., :S], self.bias.index_select(3, columns + S)), dim=3)

    def next_column(self, oldest: int) -> bool:
        """Chooses the column that the next step writes: one not written since step `oldest`. True if the cache had to grow."""
        if not self.free:
            self.free = [c for c, step in enumerate(self.written) if step < oldest][::-1]
        grows = not self.free
        if grows:
            self.free = list(range(len(self.written), len(self.written) + self.bucket))[::-1]
            self.written += [-1] * self.bucket
            for i in range(len(self.keys)):  # a layer at a time
                self.keys[i] = F.pad(self.keys[i], (0, 0, 0, self.bucket))
                self.values[i] = F.pad(self.values[i], (0, 0, 0, self.bucket))
            self.bias = F.pad(self.bias, (0, self.bucket), value=-torch.inf)
        column = self.free.pop()
        self.written[column] = self.steps
        self.column.fill_(column)
        self.last_column = column
        self.steps += 1
        return grows

    # --- one token --------------------------------------------------------------------------------------------------

    def step(self, token: Tensor) -> Tensor:
        """The logits [n, V] after one more token [n] a row, whose keys and values go to `column`."""
        c, n = self.config, len(token)
        heads, kv = c.num_attention_heads, c.num_key_value_heads
        self.bias.index_fill_(3, self.column + self.prompt_keys[0].shape[2], 0.0)
        x = F.embedding(token, self.model.embed_tokens.weight).to(self.wide)  # [n, H]
        rotation = torch.view_as_complex(F.embedding(self.position, self.rotations).view(n, 1, -1, 2))  # [n, 1, d / 2]
        self.position.add_(1).clamp_(max=len(self.rotations) - 1)  # rows that have ended may run past it
        for i, w in enumerate(self.layers):
            qkv = F.linear(self.normed(x), w["qkv"], w["bias"]).view(n, heads + 2 * kv, c.head_dim)
            qk = qkv[:, : heads + kv].to(self.wide)
            if w["qk_norm"] is not None:
                qk = self.unit(qk) * w["qk_norm"]
            qk = torch.view_as_real(torch.view_as_complex(qk.unflatten(-1, (-1, 2))) * rotation).flatten(-2).to(self.dtype)
            self.write(self.keys[i], qk[:, heads:])
            self.write(self.values[i], qkv[:, heads + kv :])
            x = self.add_product(x, self.attend(i, qk[:, :heads]), w["out"])
            gate, up = F.linear(self.normed(x), w["gate_up"]).chunk(2, dim=-1)
            x = self.add_product(x, F.silu(gate, inplace=True).mul_(up), w["down"])
        return F.linear(self.normed(x), self.head)

    def write(self, states: Tensor, new: Tensor) -> None:
        """states[:, :, column] = new [n, kv, d]"""
        if self.replayable:
            states.index_copy_(2, self.column, new[:, :, None])
        else:  # a third of the time on a CPU
            states[:, :, self.last_column] = new

    def unit(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.addcmul(self.eps, norm, norm, value=1 / x.shape[-1]).rsqrt_()

    def normed(self, x: Tensor) -> Tensor:
        """RMSNorm without its weight, which is in the next matrix."""
        return self.unit(x).to(self.dtype)

    def add_product(self, x: Tensor, a: Tensor, w: Tensor) -> Tensor:
        """x + a @ w, in x."""
        return x.addmm_(a, w) if x.dtype == a.dtype else x.add_(a @ w)

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """q [n, heads, d] over the prompt's and the row's own keys and values: [n, heads * d]"""
        n, heads, d = q.shape
        kv, C, S = self.config.num_key_value_heads, self.keys[layer].shape[2], self.prompt_keys[0].shape[2]
        q = q.reshape(n, kv, -1, d)  # [n, kv, g, d]
        prompt = self.to_rows(self.to_prompts(q) @ self.prompt_keys[layer].flatten(0, 1).mT)  # [.., kv, g, S]
        own = q.flatten(0, 1) @ self.keys[layer].flatten(0, 1).mT  # [n * kv, g, C]
        scores = torch.cat((prompt, own.view(*prompt.shape[:-1], C)), dim=-1).view(n, kv, -1, S + C)
        p = scores.add_(self.bias).softmax(-1)
        own = p[..., S:].flatten(0, 1) @ self.values[layer].flatten(0, 1)  # [n * kv, g, d]
        prompt = self.to_rows(self.to_prompts(p[..., :S]) @ self.prompt_values[layer].flatten(0, 1))
        return own.view(prompt.shape).add_(prompt).view(n, heads * d)

    def to_prompts(self, x: Tensor) -> Tensor:
        """Rows [n, kv, g, ..] side by side at their prompts: [slots * kv, k * g, ..]"""
        if not self.in_order:
            x = x.new_zeros(self.slots * self.k, *x.shape[1:]).index_copy_(0, self.place, x)
        return x.unflatten(0, (-1, self.k)).transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def to_rows(self, x: Tensor) -> Tensor:
        """The way back, to [n, kv, g, ..], or where rows are in order without a copy to [slots, k, kv, g, ..]."""
        x = x.view(self.slots, -1, self.k, x.shape[1] // self.k, x.shape[2]).transpose(1, 2)
        return x if self.in_order else F.embedding(self.place, x.flatten(2).flatten(0, 1)).view(-1, *x.shape[2:])
