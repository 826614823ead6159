"""The KV cache: what attention has computed about earlier tokens, kept so that it is not computed again.

Without it, token t costs a forward pass over all t tokens before it; with it, over one. The cache here is two
pre-allocated tensors and a length a row:

    keys, values  [layers, N, kv_heads, capacity, head_dim]
    lengths       [N]                        tokens row n holds; everything at or beyond lengths[n] is junk

Prompts of unequal length are written left-aligned and padded on the right. The padding is junk beyond
`lengths`: the attention mask hides it and the row's next token overwrites it, so nothing ever depends on it.

Oversampling (T1, K responses a prompt) starts from one prefill a prompt: `repeat(k)` copies its keys and
values for k rows. t1mini.fast.decode does without the copies.

See it agree with the full forward pass: python -m pytest tests/test_kv_cache.py
"""

import copy

import torch
from torch import Tensor


class KVCache:
    """Keys and values of N rows. `write` stores a layer's new tokens, `advance` makes them count."""

    def __init__(self, layers: int, rows: int, kv_heads: int, capacity: int, head_dim: int,
                 dtype=torch.float32, device="cpu"):
        self.keys, self.values = torch.zeros(2, layers, rows, kv_heads, capacity, head_dim,
                                             dtype=dtype, device=device)
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)  # [N]
        self.longest = 0  # a Python int >= lengths.max(), so that slicing needs no device synchronisation

    def positions(self, new_tokens: int) -> Tensor:
        """Where the next `new_tokens` tokens of every row stand: [N, S]."""
        return self.lengths[:, None] + torch.arange(new_tokens, device=self.lengths.device)

    def mask(self, positions: Tensor) -> Tensor:
        """True where a query at `positions` [N, S] may look: at itself and what is before it. [N, 1, S, T]"""
        columns = torch.arange(self.longest + positions.shape[1], device=positions.device)
        return (columns <= positions[:, :, None]).unsqueeze(1)

    def write(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Stores keys and values [N, kv_heads, S, head_dim] at `positions` [N, S].

        Returns all so far, [N, kv_heads, T, head_dim]. ValueError where the capacity does not suffice.
        """
        filled = self.longest + positions.shape[1]
        if filled > self.keys.shape[3]:
            raise ValueError(f"KV cache holds {self.keys.shape[3]} tokens a row, {filled} are needed")
        rows = torch.arange(positions.shape[0], device=positions.device)[:, None]
        self.keys[layer][rows, :, positions] = keys.transpose(1, 2).to(self.keys.dtype)
        self.values[layer][rows, :, positions] = values.transpose(1, 2).to(self.values.dtype)
        return self.keys[layer, :, :, :filled], self.values[layer, :, :, :filled]

    def advance(self, new_tokens: Tensor | int, longest: int):
        """Counts `new_tokens` (a number, or [N]) more a row; no row is longer than `longest` now."""
        self.lengths = self.lengths + new_tokens
        self.longest = longest

    def repeat(self, k: int) -> "KVCache":
        """Each row k times, side by side: row n becomes rows n*k ... n*k + k-1 (prompt-major)."""
        new = copy.copy(self)
        new.keys, new.values = (states.repeat_interleave(k, dim=1) for states in (self.keys, self.values))
        new.lengths = self.lengths.repeat_interleave(k)
        return new
