"""The sampler: from logits to the next token and its log-probability, in few passes over the vocabulary.

    z = logits / temperature                          over the first vocab_limit ids
    keep some of z: top_k, then top_p, then min_p     each on the renormalised rest
    weight = exp(z - max z), 0 where not kept         softmax but for its sum; the likeliest token has 1
    token = the first whose cumulative weight exceeds u * (sum of weights),  u ~ U(0, 1)
    logprob = log(weight[token] / sum of weights)     of the distribution it was drawn from

One number u a row decides. On a line where each token owns a piece as long as its weight, u points to a
place; the token that owns it is drawn. Sums over blocks of the vocabulary are searched first, then the one
block: a cumulative sum of 150,000 words would cost more than all the rest.

T1 explores by sampling at temperature 1.2, optionally with min-p 0.05: keep tokens with p >= min_p * max p,
which is weight >= min_p. Training scores what was sampled, the kept set, renormalised (`scored`): with the
whole distribution scored instead, RL pushes up a tail that is never sampled, and collapses
(tutorials/findings/README.md, F3). Temperature 0 is greedy and scored at temperature 1.

The number comes from a torch.Generator, or from `row_keys`: one integer a row that names (seed, step, prompt,
response, t). Hashing it gives the same number whatever other rows share the batch, so batching never changes
a response.

See it: python -m pytest tests/test_sampler.py (exact distributions, and a chi-square test of samples against
them)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 512  # words whose weights are summed before a place among them is looked for
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
    require_valid(top_k, top_p, min_p)
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
    require_valid(top_k, top_p, min_p)
    z = scale(logits, temperature, vocab_limit)  # [N, v]
    kept, top = truncate(z, top_k, top_p), z.amax(-1, keepdim=True)
    weights = (kept - top).exp_()  # [N, v]
    whole = weights.sum(-1) if kept is z else (z - top).exp().sum(-1)
    F.threshold(weights, min_p * (1 - torch.finfo(z.dtype).eps), 0.0, inplace=True)  # min_p itself is kept
    if temperature == 0:
        token_ids = z.argmax(-1)
    elif row_keys is not None:
        token_ids = draw(weights, row_uniform(row_keys))
    else:
        uniform = torch.rand(len(z), generator=generator, dtype=torch.float64, device=z.device)
        token_ids = draw(weights, uniform)
    total = weights.sum(-1)
    logprobs = (weights.gather(-1, token_ids[:, None]).squeeze(-1) / total).log()
    return (token_ids, logprobs, total / whole) if return_kept_mass else (token_ids, logprobs)


def scale(logits: Tensor, temperature: float, vocab_limit: int | None = None) -> Tensor:
    """logits / temperature (1 in place of 0) over the first `vocab_limit` ids, at least float32."""
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    z = logits[..., :vocab_limit]
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    return z if temperature in (0, 1) else z / temperature  # of many rows the quotient is a pass over memory


def require_valid(top_k: int, top_p: float, min_p: float):
    if top_k < 0 or not 0 < top_p <= 1 or not 0 <= min_p <= 1:
        raise ValueError(f"need top_k >= 0, 0 < top_p <= 1, 0 <= min_p <= 1; got {top_k}, {top_p}, {min_p}")


def truncate(z: Tensor, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Tensor:
    """-inf wherever top_k, top_p, min_p (in that order) exclude a token; the likeliest token always stays."""
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


def draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """The word at share `uniform` [N] of the line of weights [N, v]: [N]"""
    v = weights.shape[-1]
    if v <= BLOCK:
        return at_share(weights, uniform)[0]
    whole, rest = weights.split((v - v % BLOCK, v % BLOCK), dim=-1)
    sums = torch.cat((whole.unflatten(-1, (-1, BLOCK)).sum(-1), rest.sum(-1, keepdim=True)), dim=-1)
    block, within = at_share(sums, uniform)
    places = block[:, None] * BLOCK + torch.arange(BLOCK, device=weights.device)  # [N, BLOCK]
    words = weights.gather(-1, places.clamp(max=v - 1)).masked_fill(places >= v, 0.0)
    return block * BLOCK + at_share(words, within)[0]


def at_share(lengths: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the pieces, laid end to end, covers the place `share` of their line, and at which share of it.

    lengths [N, m], share [N], at least 0 and below 1 -> ([N], [N])

    >>> at_share(torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([0.625]).double())
    (tensor([2]), tensor([0.5000], dtype=torch.float64))
    """
    ends = lengths.double().cumsum(-1)
    # a share that rounding has made 1 would lie past the last piece
    place = share.clamp(max=1 - 1e-12)[:, None] * ends[:, -1:]
    piece = (ends <= place).sum(-1, keepdim=True)
    length = lengths.gather(-1, piece)
    share = (place - ends.gather(-1, piece)) / length + 1
    return piece.squeeze(-1), share.clamp(min=0).squeeze(-1)


def row_uniform(row_keys: Tensor) -> Tensor:
    """Uniform numbers [N] from 0 to 1, a pure function of `row_keys` [N]."""
    return _shift(mix(row_keys + GOLDEN), 11).double() * 2.0**-53


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
