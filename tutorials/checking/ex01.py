"""Lesson 1: rope and attend."""

import math

import torch

from checking.tasks import Case, Mistake, Task, differs


def randn(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# --- rope -----------------------------------------------------------------------------------------


def rope(x, pos, *, base=10_000.0, interleaved=False, sign=1, shift=0, exponent=2, ends=slice(None), axis=1,
         first=0):
    """Pair by pair, as complex numbers: (a + ib) * e^(i angle)."""
    d = x.shape[-1]
    y = x.clone()
    pairs = [(2 * i, 2 * i + 1) if interleaved else (i, i + d // 2) for i in range(d // 2)]
    for i, (a, b) in list(enumerate(pairs))[ends]:
        angle = sign * (pos.double() + shift) * base ** (-exponent * (i + first) / d)  # [S]
        angle = angle[:, None] if axis == 1 else angle[: x.shape[2]][None, :]
        turned = torch.complex(x[..., a].double(), x[..., b].double()) * torch.polar(
            torch.ones_like(angle), angle
        )
        y[..., a], y[..., b] = turned.real.to(x.dtype), turned.imag.to(x.dtype)
    return y


def rope_cases(seed: int) -> list[Case]:
    x = randn(seed, 2, 7, 3, 10)
    return [Case("positions 0 to 6", (x, torch.arange(7))),
            Case("positions that start at 5", (x, torch.arange(5, 12)), varies="pos"),
            Case("float32, positions in no order",
                 (randn(seed + 9, 1, 4, 5, 6, dtype=torch.float32), torch.tensor([3, 0, 90, 7]))),
            Case("one pair a head", (randn(seed + 5, 1, 3, 2, 2), torch.arange(3))),
            Case("bfloat16, positions up to 1000",
                 (randn(seed + 6, 1, 3, 2, 4, dtype=torch.bfloat16), torch.tensor([1, 301, 1000])))]


def turned_alike(expected, got) -> str | None:
    """bfloat16 has 8 bits, and may be rounded on the way more than once."""
    if isinstance(got, torch.Tensor) and got.dtype == expected.dtype == torch.bfloat16:
        return differs(expected, got, 0.03)
    return differs(expected, got)


ROPE = Task(
    "rope", rope_cases, rope, answers=("t1mini.model.rope",), same_dtype=True, agrees=turned_alike,
    mistakes=(Mistake("the result is of x's dtype; yours is float64, whatever x is: angles in float64 are "
                      "fine, but come back with .to(x.dtype)",
                      lambda x, pos: rope(x, pos).double()),
              Mistake("the result is of x's dtype; yours is float32 where x is bfloat16: angles in float32 "
                      "are fine, but come back with .to(x.dtype)",
                      lambda x, pos: rope(x.float() if x.dtype == torch.bfloat16 else x, pos)),
              Mistake("pairs: x[i] turns with x[i + d/2] in Qwen's layout, yours with its neighbour x[i + 1]",
                      lambda x, pos: rope(x, pos, interleaved=True)),
              Mistake("direction: (a, b) becomes (a cos - b sin, b cos + a sin); yours turns the other way",
                      lambda x, pos: rope(x, pos, sign=-1)),
              Mistake("positions are counted from 1: the first token stands at pos = 0 and is not turned",
                      lambda x, pos: rope(x, pos, shift=1)),
              Mistake("`pos` is not used: positions are counted from 0 whatever they are, so cached decoding "
                      "would turn every token by 0",
                      lambda x, pos: rope(x, torch.arange(x.shape[1]))),
              Mistake("positions are those of `pos`, in any order and with gaps; yours are counted on from "
                      "the first",
                      lambda x, pos: rope(x, pos[0] + torch.arange(x.shape[1]))),
              Mistake("frequencies: theta^(-2i/d) for pair i; yours is theta^(-i/d)",
                      lambda x, pos: rope(x, pos, exponent=1)),
              Mistake("frequencies: theta^(-2i/d) for pair i; yours is theta^(-4i/d)",
                      lambda x, pos: rope(x, pos, exponent=4)),
              Mistake("frequencies: pairs are counted from 0, so the first turns by pos itself; yours counts "
                      "from 1",
                      lambda x, pos: rope(x, pos, first=1)),
              Mistake("angles in x's own dtype: in bfloat16 a position above 256 is rounded; float32 or "
                      "float64, and .to(x.dtype) at the end",
                      lambda x, pos: rope(x, pos.to(x.dtype))),
              Mistake("every pair turns by the same angle: pair i has the frequency theta^(-2i/d)",
                      lambda x, pos: rope(x, pos, exponent=0)),
              Mistake("frequencies: the exponent is positive, it should be -2i/d",
                      lambda x, pos: rope(x, pos, exponent=-2)),
              Mistake("only the first pair turns", lambda x, pos: rope(x, pos, ends=slice(0, 1))),
              Mistake("sin and cos are exchanged",
                      lambda x, pos: rope_of(x, pos, lambda a, b, c, s: (a * s - b * c, b * s + a * c))),
              Mistake("the second half is b cos + a sin; yours is b cos - a sin",
                      lambda x, pos: rope_of(x, pos, lambda a, b, c, s: (a * c - b * s, b * c - a * s))),
              Mistake("the first half is a cos - b sin; yours is a cos + b sin",
                      lambda x, pos: rope_of(x, pos, lambda a, b, c, s: (a * c + b * s, b * c + a * s))),
              Mistake("the two halves come back in the wrong order",
                      lambda x, pos: rope(x, pos).roll(x.shape[-1] // 2, -1)),
              Mistake("the second half is computed from the first half already turned: keep the old values",
                      lambda x, pos:
                          rope_of(x, pos, lambda a, b, c, s: (a * c - b * s, b * c + (a * c - b * s) * s))),
              *(Mistake("the base of the frequencies is 10,000",
                        lambda x, pos, base=base: rope(x, pos, base=base))
                for base in (1_000.0, 100_000.0, 500_000.0, 1_000_000.0)),
              Mistake("the two halves come back one behind the other (cat); yours lie interleaved",
                      lambda x, pos: torch.stack(rope(x, pos).chunk(2, -1), -1).flatten(-2)),
              Mistake("angles belong to tokens, the second axis of [N, S, heads, d]; yours lie along the "
                      "heads: [S, 1, d/2] is what broadcasts",
                      lambda x, pos: rope_of(x, pos, lambda a, b, c, s: (a * c - b * s, b * c + a * s),
                                             spread=lambda angles: angles)),
              Mistake("nothing is turned: x comes back as it was", lambda x, pos: x))
)


def rope_of(x, pos, turn, spread=lambda angles: angles[:, None]):
    d = x.shape[-1]
    a, b = x[..., : d // 2], x[..., d // 2 :]
    angles = pos.double()[:, None] * 10_000.0 ** (-2 * torch.arange(d // 2, dtype=torch.float64) / d)
    angles = spread(angles)  # [S, 1, d/2]
    return torch.cat(turn(a, b, angles.cos(), angles.sin()), -1).to(x.dtype)


# --- attend ---------------------------------------------------------------------------------------


def attend(q, k, v, cache, *, scale=None, sees=lambda s, t, before: t <= s + before,
           head=lambda h, heads, kv: h * kv // heads, order=1, keep=lambda old, new: torch.cat((old, new), 2),
           soft=lambda row: row.softmax(-1)):
    """Query by query: what it may see, softmax, the weighted mean of values."""
    before = cache[0].shape[2] if cache is not None else 0
    old = cache if cache is not None else (k[:, :, :0], v[:, :, :0])
    keys, values = (torch.cat((a, b)[::order], 2) for a, b in zip(old, (k, v)))
    N, heads, S, d = q.shape
    out = torch.zeros_like(q)
    for n in range(N):
        for h in range(heads):
            g = head(h, heads, k.shape[1])
            for s in range(S):
                seen = [t for t in range(keys.shape[2]) if sees(s, t, before)]
                if seen:
                    row = keys[n, g, seen] @ q[n, h, s] * (d**-0.5 if scale is None else scale(d))
                    out[n, h, s] = soft(row) @ values[n, g, seen]
    return out, tuple(keep(a, b) for a, b in zip(old, (k, v)))


def attend_cases(seed: int) -> list[Case]:
    q, k, v = randn(seed, 2, 6, 5, 4), randn(seed + 1, 2, 3, 5, 4), randn(seed + 2, 2, 3, 5, 4)
    cache = randn(seed + 3, 2, 3, 7, 4), randn(seed + 4, 2, 3, 7, 4)
    one = tuple(x[:, :, :1] for x in (q, k, v))
    return [Case("no cache, 5 tokens", (q, k, v, None)),
            Case("7 tokens in the cache, 5 new ones", (q, k, v, cache), varies="cache"),
            Case("7 tokens in the cache, one new one, as in decoding", (*one, cache)),
            Case("as many key/value heads as query heads, float32",
                 tuple(x.float() for x in (q[:, :3], k, v)) + (None,))]


def _attend(says: str, **how) -> Mistake:
    return Mistake(says, lambda q, k, v, cache: attend(q, k, v, cache, **how))


ATTEND = Task(
    "attend", attend_cases, attend, seeds=2,
    answers=("t1mini.model.attend", "t1mini.fast.forward.attention"),
    mistakes=(
        _attend("scale: scores are divided by sqrt(d); yours are not", scale=lambda d: 1.0),
        _attend("scale: scores are divided by sqrt(d); yours by d", scale=lambda d: 1 / d),
        _attend("scale: scores are divided by sqrt(d); yours are multiplied by it", scale=lambda d: d**0.5),
        Mistake("scale: scores are divided by sqrt(d), the size of a head; yours by the root of the number "
                "of heads",
                lambda q, k, v, cache: attend(q, k, v, cache, scale=lambda d: q.shape[1] ** -0.5)),
        Mistake("scale: scores are divided by sqrt(d), the size of one head; yours by the root of all heads' "
                "width",
                lambda q, k, v, cache: attend(q, k, v, cache, scale=lambda d: (q.shape[1] * d) ** -0.5)),
        Mistake("scale: scores are divided by sqrt(d), not the keys, which go into the cache as they are",
                lambda q, k, v, cache: attend(q, k * q.shape[-1] ** -0.5, v, cache, scale=lambda d: 1.0)),
        _attend("causality: a token sees itself and what stands before it; yours sees what comes after, too",
                sees=lambda s, t, before: True),
        _attend("causality with a cache: new token s stands at cached + s, so it sees the whole cache; yours "
                "sees only the first s + 1 keys",
                sees=lambda s, t, before: t <= s),
        _attend("causality: a token sees itself, too; yours sees only what stands before it",
                sees=lambda s, t, before: t < s + before),
        _attend("causality: a token sees itself and what stands before it; yours sees the next one, too",
                sees=lambda s, t, before: t <= s + before + 1),
        _attend("the new tokens do not see one another: only the cache and, of the new ones, themselves",
                sees=lambda s, t, before: t < before or t == s + before),
        _attend("with a cache, the new tokens are not causal among themselves",
                sees=lambda s, t, before: t <= s if not before else True),
        _attend("the cache is not attended to", sees=lambda s, t, before: before <= t <= s + before),
        _attend("the new tokens themselves are not attended to, only the cache",
                sees=lambda s, t, before: t < before if before else t <= s),
        _attend("grouped heads: query heads 0 and 1 share key head 0, 2 and 3 share head 1 "
                "(repeat_interleave); yours takes turns (repeat)",
                head=lambda h, heads, kv: h % kv),
        _attend("all query heads look at the first key/value head", head=lambda h, heads, kv: 0),
        _attend("new keys are put before the cached ones", order=-1,
                keep=lambda old, new: torch.cat((new, old), 2)),
        _attend("the cache that is returned lacks the new keys and values", keep=lambda old, new: old),
        _attend("the cache that is returned has only the new keys and values", keep=lambda old, new: new),
        _attend("scores are not brought to sum 1: softmax is missing", soft=lambda row: row),
        _attend("softmax divides by the sum of exp alone; yours adds 1 to it",
                soft=lambda row: row.exp() / (1 + row.exp().sum())),
        _attend("exp without dividing by its sum", soft=lambda row: row.exp()),
        _attend("sigmoid in place of softmax", soft=lambda row: row.sigmoid()),
        Mistake("the mask comes before softmax, as -inf; after it, the weights that are left do not sum to 1",
                lambda q, k, v, cache: wrong_axis(q, k, v, cache, late=True)),
        Mistake("hidden scores have to be -inf before softmax; at 0 they keep a share",
                lambda q, k, v, cache: wrong_axis(q, k, v, cache, hide=0.0)),
        Mistake("grouped heads: keys and values go the same way (repeat_interleave); in yours only one of "
                "them does",
                lambda q, k, v, cache: wrong_axis(q, k, v, cache, turns=True)),
        Mistake("the cache keeps its own heads: return keys and values as they are, not repeated for the "
                "query heads",
                lambda q, k, v, cache: (lambda out, kv: (out, tuple(
                    x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in kv)))(*attend(q, k, v, cache))),
        Mistake("the cache is (keys, values), in this order",
                lambda q, k, v, cache: (lambda out, kv: (out, kv[::-1]))(*attend(q, k, v, cache))),
        Mistake("softmax over queries in place of keys: the last axis is that of the keys",
                lambda q, k, v, cache: wrong_axis(q, k, v, cache)),
        Mistake("keys and values are exchanged", lambda q, k, v, cache: exchanged(q, k, v, cache))
    )
)


def wrong_axis(q, k, v, cache, late=False, hide=None, turns=False):
    _, (keys, values) = attend(q, k, v, cache)
    grow = lambda x: x.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = q @ grow(keys).transpose(-1, -2) / math.sqrt(q.shape[-1])
    S, T = scores.shape[-2:]
    hidden = torch.arange(T) > torch.arange(S)[:, None] + T - S
    if hide is not None or turns:
        seen = scores.masked_fill(hidden, -math.inf if hide is None else hide)
        there = values.repeat(1, q.shape[1] // k.shape[1], 1, 1) if turns else grow(values)
        return seen.softmax(-1) @ there, (keys, values)
    if late:
        return scores.softmax(-1).masked_fill(hidden, 0) @ grow(values), (keys, values)
    return scores.masked_fill(hidden, -math.inf).softmax(-2).nan_to_num() @ grow(values), (keys, values)


def exchanged(q, k, v, cache):
    out, (values, keys) = attend(q, v, k, cache and cache[::-1])
    return out, (keys, values)


TASKS = (ROPE, ATTEND)
