"""The sampler: from logits to the next token and its log-probability, in one pass.

    z = logits / temperature                          over the first vocab_limit ids
    keep some of z: top_k, then top_p, then min_p     each on the renormalised rest
    token = argmax(z_kept - log E),  E ~ Exp(1)       the exponential race: exactly softmax(z_kept)
    logprob = z[token] - logsumexp(z_kept)            of the distribution it was drawn from

Why a race: if clocks with rates p_i run, clock i rings first with probability p_i. A clock's ring is E_i /
p_i, its negative logarithm z_i - log E_i but for a constant that all share (-log E is Gumbel noise), so the
largest wins. No cumulative sum, no sort, no normalising: that constant would be the normaliser.

T1 explores by sampling at temperature 1.2, optionally with min-p 0.05: keep tokens with p >= min_p * max p,
which in logits is z >= max z + log(min_p). Training scores what was sampled, the kept set, renormalised
(`scored`): with the whole distribution scored instead, RL pushes up a tail that is never sampled, and
collapses (tutorials/findings/README.md, F3). Temperature 0 is greedy and scored at temperature 1.

Noise comes from a torch.Generator, or from `row_keys`: one integer a row that names (seed, step, prompt,
response, t). Hashing it gives the same noise whatever other rows share the batch, so batching never changes a
response.

See it: python -m pytest tests/test_sampler.py (exact distributions, and a chi-square test of samples against
them)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GOLDEN = -7046029254386353131  # 2^64 / golden ratio, odd, as a signed 64-bit integer


@dataclass(frozen=True)
class Sampling:
    """What a token is drawn from. As they stand here, the filters keep every token."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    vocab_limit: int | None = None


def sampling_distribution(logits: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
                          min_p: float = 0.0, vocab_limit: int | None = None) -> Tensor:
    """The distribution `sample` draws from, exactly: logits [.., V] -> probabilities [.., V].

    >>> sampling_distribution(torch.tensor([2.0, 1.0, 0.0]), min_p=0.3).round(decimals=3)
    tensor([0.7310, 0.2690, 0.0000])
    """
    z = truncate(scale(logits, temperature, vocab_limit), top_k, top_p, min_p)
    p = F.one_hot(z.argmax(-1), z.shape[-1]).to(z.dtype) if temperature == 0 else z.softmax(-1)
    return F.pad(p, (0, logits.shape[-1] - p.shape[-1]))


def sample(logits: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0,
           min_p: float = 0.0, vocab_limit: int | None = None, generator: torch.Generator | None = None,
           row_keys: Tensor | None = None, return_kept_mass: bool = False) -> tuple[Tensor, ...]:
    """One token a row: logits [N, V] -> (token ids [N], their log-probabilities [N] in nats).

    With `return_kept_mass` also [N], the share of probability that the filters left to sample from.
    `row_keys` [N] (int64) takes the place of `generator`.
    """
    z = scale(logits, temperature, vocab_limit)  # [N, v]
    kept = truncate(z, top_k, top_p, min_p)
    if temperature == 0:
        token_ids = kept.argmax(-1)
    elif row_keys is not None:
        token_ids = race(kept, row_noise(row_keys, z.shape[-1]).to(z.dtype))
    else:
        token_ids = race(kept, torch.empty_like(z).exponential_(generator=generator))
    log_norm = kept.logsumexp(-1)
    logprobs = kept.gather(-1, token_ids[:, None]).squeeze(-1) - log_norm
    if not return_kept_mass:
        return token_ids, logprobs
    mass = torch.ones_like(logprobs) if kept is z else (log_norm - z.logsumexp(-1)).exp()
    return token_ids, logprobs, mass


def scale(logits: Tensor, temperature: float, vocab_limit: int | None = None) -> Tensor:
    """logits / temperature (1 in place of 0) over the first `vocab_limit` ids, at least float32."""
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    z = logits[..., :vocab_limit]
    return z.to(torch.promote_types(z.dtype, torch.float32)) / (temperature or 1.0)


def truncate(z: Tensor, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Tensor:
    """-inf wherever top_k, top_p, min_p (in that order) exclude a token; the likeliest token always stays."""
    if top_k < 0 or not 0 < top_p <= 1 or not 0 <= min_p <= 1:
        raise ValueError(f"need top_k >= 0, 0 < top_p <= 1, 0 <= min_p <= 1; got {top_k}, {top_p}, {min_p}")
    if 0 < top_k < z.shape[-1]:
        z = z.masked_fill(z < z.topk(top_k).values[..., -1:], -math.inf)
    if top_p < 1:
        ordered, order = z.sort(dim=-1, descending=True)
        p = ordered.softmax(-1)
        outside = p.cumsum(-1) - p >= top_p  # the tokens before this one already hold top_p
        z = z.masked_fill(outside.scatter(-1, order, outside), -math.inf)
    if min_p > 0:
        z = z.masked_fill(z < z.amax(-1, keepdim=True) + math.log(min_p), -math.inf)
    return z


def scored(z: Tensor, token_ids: Tensor, min_p: float) -> Tensor:
    """What min-p keeps of z [.., V], for scoring tokens [..] that were sampled with it: -inf elsewhere.

    A sampled token is always kept, on whichever side of the border rounding may put it now.
    """
    if not min_p:
        return z
    token_ids = token_ids.unsqueeze(-1)
    return truncate(z, min_p=min_p).scatter(-1, token_ids, z.gather(-1, token_ids))


def race(z: Tensor, exponential: Tensor) -> Tensor:
    """argmax(z - log E), index i with probability softmax(z)_i: [N, V], [N, V] -> [N]; overwrites E."""
    return (z - exponential.clamp_min_(torch.finfo(z.dtype).tiny).log_()).argmax(-1)


def row_noise(row_keys: Tensor, width: int) -> Tensor:
    """Exp(1) variables [N, width], a pure function of `row_keys` [N] and the column."""
    columns = torch.arange(1, width + 1, device=row_keys.device) * GOLDEN
    bits = mix(row_keys[:, None] + columns)  # [N, width]
    uniform = _shift(bits, 33).to(torch.float32).add_(0.5).mul_(2.0**-31)  # 31 bits, from 0 to 1 and never 0
    return uniform.clamp_max_(1 - 2.0**-24).neg_().log1p_().neg_()  # 1 would be an infinite wait


def fold(key: Tensor | int, *parts: Tensor | int) -> Tensor:
    """Folds integers into a key, one by one: fold(seed, step, prompt, response) differs wherever one does."""
    key = torch.as_tensor(key, dtype=torch.int64)
    for part in parts:
        key = mix(key * GOLDEN + part)
    return key


def mix(x: Tensor) -> Tensor:
    """A hash of 64-bit integers: an input bit changes half the output bits (splitmix64)."""
    x = _shift(x, 30).bitwise_xor_(x).mul_(-4658895280553007687)
    x = _shift(x, 27).bitwise_xor_(x).mul_(-7723592293110705685)
    return _shift(x, 31).bitwise_xor_(x)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's >> on int64 would copy the sign in."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)
