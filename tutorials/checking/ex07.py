"""Lesson 7: token_entropy."""

import math

import torch

from checking.ex01 import randn
from checking.tasks import Case, Mistake, Task


def token_entropy(logits, *, h=lambda p: -p * math.log(p) if p > 0 else 0.0, soft=lambda z: z.softmax(-1),
                  after=lambda total, v: total):
    """Token by token, probability by probability; by hand where a gradient is asked for."""
    if logits.requires_grad:
        return _differentiable(logits, soft, after)
    p = soft(logits.double())
    flat = [after(sum(h(x) for x in row), len(row)) for row in p.reshape(-1, p.shape[-1]).tolist()]
    return torch.tensor(flat, dtype=logits.dtype).view(logits.shape[:-1])


def _differentiable(logits, soft, after):
    """dH/dz = -p (log p + H), which autograd finds from logsumexp(z) - sum p z."""
    z = logits.masked_fill(logits == -math.inf, -1e4)
    return after(z.logsumexp(-1) - (z.softmax(-1) * z).sum(-1), z.shape[-1])


def entropy_cases(seed: int) -> list[Case]:
    logits = 2 * randn(seed, 2, 3, 7)
    holes = logits.clone()
    holes[0, 1, 2:5] = -math.inf
    lone = torch.full((1, 5), -math.inf, dtype=torch.float64)
    lone[0, 3] = 1.0
    return [Case("logits [2, 3, 7]", (logits,), {}, (0,)),
            Case("logits of -inf, as a filter leaves them", (holes,), {}, (0,)),
            Case("all but one are -inf: entropy 0", (lone,)),
            Case("equal logits: log V", (torch.zeros(3, 6),)),
            Case("a large vocabulary of equal logits", (torch.zeros(1, 20_000, dtype=torch.float64),)),
            Case("logits far below 0", (randn(seed + 2, 3, 4) - 100,)),
            Case("logits far below 0, and of -inf", (holes - 200,)),
            Case("logits in the hundreds, float32", (100 + 2 * randn(seed + 3, 2, 6, dtype=torch.float32),)),
            Case("logits hundreds apart", (300 * randn(seed + 1, 4, 5),)),
            Case("one row [V], float32", (randn(seed, 9, dtype=torch.float32),))]


def _entropy(says: str, function) -> Mistake:
    return Mistake(says, function)


def _nan(z):
    p = z.softmax(-1)
    return -(p * p.log()).sum(-1)


TASK = Task(
    "token_entropy", entropy_cases, token_entropy,
    answers=("t1mini.loss.token_entropy", "t1mini.fast.score.token_logprobs"),
    mistakes=(
        Mistake("0 * log 0 is NaN where a logit is -inf: such a token adds 0; its logarithm has "
                "to go before it is multiplied, torch.where(p > 0, p, 1.0).log()",
                _nan),
        Mistake("0 * log 0 is NaN where a logit is -inf: such a token adds 0; its logarithm has "
                "to go before it is multiplied, torch.where(p > 0, p, 1.0).log()",
                lambda z: -(z.softmax(-1) * z.log_softmax(-1)).sum(-1)),
        Mistake("the gradient is NaN where a logit is -inf: replace the -inf before it is multiplied, or use "
                "torch.where on both factors",
                lambda z: -(z.log_softmax(-1).exp() * z.log_softmax(-1)).nan_to_num(0.0).sum(-1)),
        *(Mistake("a constant within the logarithm, log(p + 1e-8), changes the entropy: leave it away and "
                  "handle p = 0",
                  lambda z, c=c: -(z.softmax(-1) * (z.softmax(-1) + c).log()).sum(-1))
          for c in (1e-3, 1e-5, 1e-6, 1e-8)),
        Mistake("a logit of -inf is a probability of 0: clamped to a finite number it gets a share",
                lambda z: token_entropy(z.clamp_min(-10))),
        Mistake("a logit of -inf is a probability of 0: clamped to a finite number it gets a share",
                lambda z: token_entropy(z.clamp_min(-5))),
        *(Mistake("a logit of -inf is a probability of 0; a finite number in its place is not, where the "
                  "others are as low",
                  lambda z, least=least: token_entropy(z.masked_fill(z.isinf(), least)))
          for least in (-50, -100)),
        *(Mistake("what counts is how far a logit is below the largest; a clamp changes rows that lie below "
                  "its bound",
                  lambda z, least=least: token_entropy(z.clamp_min(least)))
          for least in (-20, -30, -50, -100)),
        Mistake("a logit of -inf is a probability of 0; with 0 in its place it gets a share",
                lambda z: token_entropy(z.masked_fill(z.isinf(), 0.0))),
        Mistake("exp of the logits themselves overflows where they are in the hundreds: take the largest "
                "away first, or use log_softmax",
                lambda z: z.exp().sum(-1).log()
                - (z.exp() / z.exp().sum(-1, keepdim=True) * z.masked_fill(z.isinf(), 0.0)).sum(-1)),
        Mistake("sign: the entropy is -sum p log p, never below 0", lambda z: -token_entropy(z)),
        Mistake("that is in bits; nats are asked for (natural logarithm)",
                lambda z: token_entropy(z) / math.log(2)),
        Mistake("that is divided by log V; the entropy in nats is asked for",
                lambda z: token_entropy(z) / math.log(z.shape[-1])),
        Mistake("that is a mean over the vocabulary; sum over it", lambda z: token_entropy(z) / z.shape[-1]),
        Mistake("that is the negative log-probability of the likeliest token, not the mean over all",
                lambda z: -z.log_softmax(-1).amax(-1)),
        Mistake("-sum log p: each term is to be weighted by its p", lambda z: -z.log_softmax(-1).sum(-1)),
        Mistake("-mean log p: each term is to be weighted by its p", lambda z: -z.log_softmax(-1).mean(-1)),
        Mistake("softmax is taken twice: logits go in, not probabilities",
                lambda z: token_entropy(z.softmax(-1))),
        Mistake("softmax is missing: p is softmax(logits)", lambda z: -(z * z.log()).sum(-1)),
        Mistake("softmax is missing: p is softmax(logits)", lambda z: -(z * z.log_softmax(-1)).sum(-1)),
        Mistake("sum p * z with raw logits z: log p is z - logsumexp(z)",
                lambda z: -torch.where(z.isfinite(), z.softmax(-1) * z, 0.0).sum(-1)),
        Mistake("1 - sum p^2 is the Gini impurity; the entropy is -sum p log p",
                lambda z: 1 - (z.softmax(-1) ** 2).sum(-1)),
        Mistake("exp(entropy) is the perplexity; the entropy itself is asked for",
                lambda z: token_entropy(z).exp()),
        Mistake("averaged over tokens: one number a token is asked for", lambda z: token_entropy(z).mean()),
        Mistake("summed over tokens: one number a token is asked for", lambda z: token_entropy(z).sum()),
        Mistake("summed over the wrong axis: the vocabulary is the last one",
                lambda z: torch.special.entr(z.softmax(-1)).sum(0)),
        Mistake("softmax runs over the wrong axis: the vocabulary is the last one",
                lambda z: torch.special.entr(z.softmax(0)).sum(-1)),
        Mistake("softmax runs over axis 1, which may be that of the tokens: the vocabulary is the last one, "
                "dim=-1",
                lambda z: torch.special.entr(z.softmax(1)).sum(-1)),
        Mistake("the vocabulary is the last axis, dim=-1, however many there are; yours is always axis 1",
                lambda z: torch.special.entr(z.softmax(1)).sum(1)),
        *(Mistake("small probabilities count, too: a large vocabulary has many of them",
                  lambda z, small=small:
                      (p := z.softmax(-1)).masked_fill(p <= small, 1.0).log().mul(-p).sum(-1))
          for small in (1e-2, 1e-3, 1e-4)),
        Mistake("one number a token is asked for, not one a token and word: sum over the vocabulary",
                lambda z: torch.special.entr(z.softmax(-1))),
        Mistake("the logits are detached: no gradient will flow", lambda z: token_entropy(z.detach()))
    )
)

TASKS = (TASK,)
