"""Lesson 2: min_p_mask and gumbel_sample."""

import math

import torch

from checking.ex01 import randn
from checking.tasks import Case, Mistake, Task

# --- min_p_mask -----------------------------------------------------------------------------------


def min_p_mask(logits, temperature, min_p, *, at=lambda z, t: z / t,
               keeps=lambda p, min_p: p >= min_p * p.amax(-1, keepdim=True)):
    return keeps(at(logits.double(), temperature).softmax(-1), min_p)


def mask_cases(seed: int) -> list[Case]:
    logits = 2 * randn(seed, 3, 11)
    flat = torch.tensor([[0.0, 0.0, -9.0, 1e-3 * (seed + 1), -math.inf]], dtype=torch.float64)
    return [Case("temperature 1", (logits, 1.0, 0.1)),
            Case("temperature 3", (logits, 3.0, 0.1), varies="temperature"),
            Case("min_p 0.5", (logits, 3.0, 0.5), varies="min_p"),
            Case("min_p 1: only the likeliest is kept", (logits, 1.3, 1.0)),
            Case("temperature 0.4, more axes, float32",
                 (2 * randn(seed + 7, 2, 3, 6, dtype=torch.float32), 0.4, 0.02)),
            Case("a logit of -inf", (flat, 1.3, 0.2)),
            Case("logits in the thousands", (logits[:, :5] + 3000, 0.7, 0.1))]


def _overflowing(z):
    return z.exp() / z.exp().sum(-1, keepdim=True)


def _mask(says: str, **how) -> Mistake:
    return Mistake(says, lambda logits, temperature, min_p: min_p_mask(logits, temperature, min_p, **how))


MIN_P = Task(
    "min_p_mask", mask_cases, min_p_mask,
    answers=("t1mini.sampler.truncate", "t1mini.sampler.sampling_distribution"),
    mistakes=(
        Mistake("the mask is of truth values, dtype bool; yours is of numbers",
                lambda logits, temperature, min_p: min_p_mask(logits, temperature, min_p).double()),
        _mask("temperature: p is softmax(logits / temperature); yours is that of temperature 1",
              at=lambda z, t: z),
        _mask("temperature: logits are divided by it, yours are multiplied", at=lambda z, t: z * t),
        Mistake("the largest probability is that at the temperature, too; yours is that of temperature 1",
                lambda z, t, m: (z.double() / t).softmax(-1)
                >= m * z.double().softmax(-1).amax(-1, keepdim=True)),
        Mistake("exp of logits in the thousands overflows: take the largest away first, or use softmax",
                lambda z, t, m: _overflowing(z / t) >= m * _overflowing(z / t).amax(-1, keepdim=True)),
        Mistake("exp of logits in the thousands overflows: take the largest away first, or use softmax",
                lambda z, t, m: ~(_overflowing(z / t) < m * _overflowing(z / t).amax(-1, keepdim=True))),
        _mask("the threshold is min_p times the largest probability; yours is min_p itself",
              keeps=lambda p, m: p >= m),
        Mistake("the vocabulary is the last axis, dim=-1, however many there are; yours is always axis 1",
                lambda z, t, m: (p := (z / t).softmax(1)) >= m * p.amax(1, keepdim=True)),
        Mistake("softmax runs over the rows (dim 0); the vocabulary is the last axis",
                lambda z, t, m: (p := (z / t).softmax(0)) >= m * p.amax(-1, keepdim=True)),
        Mistake("softmax runs over the rows (dim 0); the vocabulary is the last axis",
                lambda z, t, m: (p := (z / t).softmax(0)) >= m * p.amax(0, keepdim=True)),
        Mistake("the mean of logits is -inf where one is: take the largest away before exp, or use softmax",
                lambda z, t, m: min_p_mask(z - z.mean(-1, keepdim=True), t, m)),
        Mistake("a logit of -inf is a probability of 0; with 0 in its place it gets a share",
                lambda z, t, m: min_p_mask(z.masked_fill(z.isinf(), 0.0), t, m)),
        _mask("the largest probability is that of the row (the last axis); yours is that of all rows",
              keeps=lambda p, m: p >= m * p.max()),
        _mask("the largest probability is that of the row (the last axis); yours is that of the column",
              keeps=lambda p, m: p >= m * p.amax(0, keepdim=True)),
        _mask("a token at exactly the threshold is kept (>=): with min_p 1 nothing is left",
              keeps=lambda p, m: p > m * p.amax(-1, keepdim=True)),
        _mask("the mask is turned round: True means kept",
              keeps=lambda p, m: p < m * p.amax(-1, keepdim=True)),
        _mask("the threshold is a share of the mean probability; it should be of the largest",
              keeps=lambda p, m: p >= m * p.mean(-1, keepdim=True)),
        _mask("that is top-p: it keeps the likeliest tokens that hold a mass of min_p",
              keeps=lambda p, m: _top_p(p, m)),
        _mask("that is top-p of 1 - min_p: min-p compares each probability with the largest",
              keeps=lambda p, m: _top_p(p, 1 - m)),
        _mask("the threshold is min_p below the largest probability; it should be min_p times it",
              keeps=lambda p, m: p >= p.amax(-1, keepdim=True) - m),
        Mistake("in logits the threshold is max z + temperature * log(min_p); yours lacks the logarithm",
                lambda z, t, m: z / t >= (z / t).amax(-1, keepdim=True) - m),
        Mistake("logits are compared in place of probabilities: z >= min_p * max z",
                lambda logits, t, m: logits / t >= m * (logits / t).amax(-1, keepdim=True)),
        Mistake("in logits the threshold is max z + log(min_p), with the natural logarithm",
                lambda logits, t, m: logits / t >= (logits / t).amax(-1, keepdim=True) + math.log10(m)),
        Mistake("everything is kept", lambda logits, t, m: torch.ones_like(logits, dtype=torch.bool)),
        Mistake("nothing is kept", lambda logits, t, m: torch.zeros_like(logits, dtype=torch.bool)),
        Mistake("it returns the filtered logits or probabilities; a mask of True and False is asked for",
                lambda logits, t, m: (logits / t).masked_fill(~min_p_mask(logits, t, m), -math.inf)),
        Mistake("it returns the filtered logits or probabilities; a mask of True and False is asked for",
                lambda logits, t, m: (logits / t).softmax(-1) * min_p_mask(logits, t, m)),
        Mistake("it returns the filtered logits or probabilities; a mask of True and False is asked for",
                lambda logits, t, m: logits.masked_fill(~min_p_mask(logits, t, m), -math.inf))
    )
)


def _top_p(p, mass):
    ordered, order = p.sort(-1, descending=True)
    return torch.zeros_like(p, dtype=torch.bool).scatter(-1, order, ordered.cumsum(-1) - ordered < mass)


# --- gumbel_sample: ids of many equal rows, compared by their distribution ------------------------

ROWS = 2500
LOGITS = torch.tensor([1.6, 0.4, 0.0, -0.7, -1.5, -3.0], dtype=torch.float64)
FAR = 5.5  # standard deviations: by chance one comparison in 10 million is further off


def distribution(logits, temperature, min_p, generator=None):
    """The shares of ids over all rows, drawn from softmax(logits / temperature) over what min_p keeps."""
    z = logits.double() / temperature
    return (z.masked_fill(~min_p_mask(logits, temperature, min_p), -math.inf) if min_p
            else z).softmax(-1).mean(0)


def drawn_from(expected: torch.Tensor, got) -> str | None:
    """Compares a distribution with one, or with ids drawn from one."""
    if not isinstance(got, torch.Tensor):
        return f"type {type(got).__name__}"
    known = got.shape == expected.shape and got.is_floating_point()  # that of a mistake
    if got.shape != (ROWS,) and not known:
        return "not one id a row"
    if not known and (got.is_floating_point() and not torch.equal(got, got.round()) or (got < 0).any()
        or (got >= len(expected)).any()):
        return "these are not token ids"
    shares = got if known else torch.bincount(got.long(), minlength=len(expected)).double() / ROWS
    spread = (expected * (1 - expected) / ROWS).sqrt()
    return None if ((shares - expected).abs() <= FAR * spread + 1e-9).all() else "distribution"


def sample_cases(seed: int) -> list[Case]:
    from checking.values import Make

    rows = LOGITS.expand(ROWS, -1).clone()
    unlike = torch.where(torch.arange(ROWS)[:, None] % 2 == 0, rows, rows.flip(-1) + 0.3 * rows)
    generator = Make("torch.Generator", (seed,))
    return [Case("temperature 1, no min-p", (rows, 1.0, 0.0, generator)),
            Case("temperature 1.7, no min-p", (rows, 1.7, 0.0, generator)),
            Case("temperature 1.7, min-p 0.3", (rows, 1.7, 0.3, generator)),
            Case("temperature 0.5, min-p 0.04, float32", (rows.float(), 0.5, 0.04, generator)),
            Case("the same generator again", (rows.float(), 0.5, 0.04, generator)),
            Case("another seed", (rows.float(), 0.5, 0.04, Make("torch.Generator", (seed + 1,)))),
            Case("a generator that has drawn before",
                 (rows.float(), 0.5, 0.04, Make("torch.Generator", (seed, 7)))),
            Case("rows that differ", (unlike, 1.3, 0.1, generator)),
            Case("min-p 1: the likeliest alone", (rows.flip(-1), 1.3, 1.0, generator))]


def reproducible(cases, outcomes) -> str | None:
    first, again, other, later = (outcome["value"].long() for outcome in outcomes[3:7])
    if not torch.equal(first, again):
        return "the same generator should give the same ids: draw the noise with generator=generator"
    if torch.equal(first, other):
        return "another generator should give other ids: is the noise drawn with generator=generator?"
    if torch.equal(first, later):
        return ("a generator that has drawn before should give other ids: use it as it is, and do not seed "
                "another one from it")
    for outcome in outcomes[:7]:
        ids = outcome["value"].long()
        p = torch.bincount(ids).double() / ROWS
        if abs((ids[1:] == ids[:-1]).double().mean() - (p**2).sum()) > FAR * math.sqrt(1 / ROWS):
            return "rows that stand side by side are not independent: each row needs noise of its own"
    return None


def _sample(says: str, of) -> Mistake:
    """`of` (z, t, m) gives the distribution that the mistaken sampler draws from."""
    return Mistake(says,
                   lambda logits, temperature, min_p, generator:
                       torch.stack([of(z.double(), temperature, min_p) for z in logits[:2]]).mean(0))


def _kept(z, t, m):
    return z.masked_fill(~min_p_mask(z, t, m), -math.inf) if m else z


def _noisy_argmax(noise, zeroed=None):
    """The distribution of argmax(z + noise), by drawing a great many; scores that are `zeroed` are 0."""

    def of(z, t, m):
        generator = torch.Generator().manual_seed(99)
        u = torch.rand(150_000, len(z), generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        scores = _kept(z, t, m) / t + noise(u, t)
        ids = (scores if zeroed is None else scores.masked_fill(zeroed, 0.0)).argmax(-1)
        return torch.bincount(ids, minlength=len(z)).double() / len(ids)

    return of


def same_everywhere(cases, outcomes) -> str | None:
    """One noise for all rows: rows that are alike all draw the same token, and not always the likeliest."""
    alike = [outcome["value"] for outcome in outcomes[:6]
             if isinstance(outcome["value"], torch.Tensor) and outcome["value"].numel() == ROWS]
    if (len(alike) == len(outcomes[:6]) and all((ids == ids[0]).all() for ids in alike)
        and any(ids[0] != 0 for ids in alike)):
        return "every row has the same noise: each row, and each token in it, needs its own"
    return None


def shares(expected: torch.Tensor, got) -> str | None:
    """The token whose share is furthest off, in words."""
    if isinstance(got, torch.Tensor) and got.shape not in ((ROWS,), expected.shape):
        return f"the shape is {list(got.shape)}, it should be [{ROWS}]: an id a row"
    if not isinstance(got, torch.Tensor) or got.is_floating_point():
        return None
    drawn = torch.bincount(got.flatten().long().clamp(0, len(expected) - 1),
                           minlength=len(expected)).double() / got.numel()
    i = int((drawn - expected).abs().argmax())
    return (f"these are not draws from the distribution: token {i} comes in {drawn[i]:.1%} of the rows, it "
            f"should in {expected[i]:.1%}")


def _to_likeliest(p, kept):
    return p * kept + _greedy(p, 1.0, 0.0) * (p * ~kept).sum()


def _greedy(z, t, m):
    return torch.nn.functional.one_hot(z.argmax(-1), len(z)).double()


SAMPLE = Task(
    "gumbel_sample", sample_cases, distribution, seeds=1, agrees=drawn_from, across=reproducible,
    describes=shares, look=same_everywhere,
    answers=("t1mini.sampler.sample", "t1mini.sampler.draw", "t1mini.sampler.sampling_distribution"),
    mistakes=(
        _sample("that is the likeliest token every time: there is no noise, or the same for all tokens of a "
                "row",
                _greedy),
        _sample("a min_p of 0 drops nothing; yours then takes the likeliest token",
                lambda z, t, m: distribution(z[None], t, m) if m else _greedy(z, t, m)),
        _sample("temperature is ignored: sample from softmax(logits / temperature)",
                lambda z, t, m: _kept(z, 1.0, m).softmax(-1)),
        _sample("what min-p drops has to become impossible, logit -inf; a logit of 0 is not",
                lambda z, t, m: ((z / t).masked_fill(~min_p_mask(z, t, m), 0.0) if m else z / t).softmax(-1)),
        _sample("what min-p drops has to become impossible, a score of -inf once the noise is in; a score of "
                "0 is not",
                lambda z, t, m: _noisy_argmax(lambda u, t: -(-u.log()).log(),
                                              None if not m else ~min_p_mask(z, t, m))(z, t, 0.0)),
        _sample("what min-p drops is not drawn, the others keep their proportions; yours gives its share to "
                "the likeliest",
                lambda z, t, m: _to_likeliest((z / t).softmax(-1), min_p_mask(z, t, m))),
        _sample("min_p is ignored, or looked at when the noise is in: what it drops has to go before",
                lambda z, t, m: (z / t).softmax(-1)),
        _sample("min-p keeps what is exactly at its threshold: with 1 nothing is left of yours",
                lambda z, t, m: (distribution(z[None], t, m) if m < 1 else torch.eye(len(z))[0].double())),
        _sample("the noise is added to probabilities; it belongs to logits / temperature",
                lambda z, t, m: _noisy_argmax(lambda u, t: -(-u.log()).log())(
                    (z / t).softmax(-1).masked_fill(~min_p_mask(z, t, m), -math.inf) if m
                    else (z / t).softmax(-1), 1.0, 0.0)),
        _sample("min-p is taken at temperature 1; its probabilities are softmax(logits / temperature)",
                lambda z, t, m: (_kept(z, 1.0, m) / t).softmax(-1)),
        _sample("logits are multiplied by the temperature; they should be divided by it",
                lambda z, t, m: (z * t).masked_fill(
                    ~min_p_mask(z, 1 / t, m) if m else torch.zeros_like(z, dtype=torch.bool), -math.inf
                ).softmax(-1)),
        _sample("the temperature divides the noise too, so it cancels: (logits + noise) / temperature",
                lambda z, t, m: _kept(z, t, m).softmax(-1)),
        _sample("every kept token is as likely as any other: the logits are not in it",
                lambda z, t, m:
                    torch.zeros_like(z).masked_fill(~torch.isfinite(_kept(z, t, m)), -math.inf).softmax(-1)),
        _sample("the noise is uniform; it should be Gumbel: -log(-log u)", _noisy_argmax(lambda u, t: u)),
        _sample("the noise is normal; it should be Gumbel: -log(-log u)",
                _noisy_argmax(lambda u, t: torch.special.ndtri(u))),
        _sample("the noise has the wrong sign: Gumbel noise is -log(-log u)",
                _noisy_argmax(lambda u, t: (-u.log()).log())),
        _sample("the noise is log u or exponential; it should be Gumbel: -log(-log u), or -log of an "
                "exponential",
                _noisy_argmax(lambda u, t: -u.log())),
        _sample("the noise is log u; it should be Gumbel: -log(-log u)", _noisy_argmax(lambda u, t: u.log())),
        _sample("the noise is multiplied by the temperature once more",
                _noisy_argmax(lambda u, t: -(-u.log()).log() * t)),
        _sample("argmin in place of argmax",
                lambda z, t, m: torch.nn.functional.one_hot(z.argmin(-1), len(z)).double())
    )
)

TASKS = (MIN_P, SAMPLE)
