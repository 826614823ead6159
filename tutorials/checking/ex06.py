"""Lesson 6: rloo_advantages, logprobs_from_logits and policy_gradient_loss."""

import math

import torch

from checking.ex01 import randn
from checking.tasks import Case, Mistake, Task

# --- rloo_advantages ------------------------------------------------------------------------------


def rloo(rewards, *, baseline=lambda row, i: sum(row[j] for j in range(len(row)) if j != i) / (len(row) - 1),
         over=lambda row: 1.0):
    if rewards.shape[-1] < 2:
        raise ValueError("K < 2")
    out = torch.empty_like(rewards)
    for p, row in enumerate(rewards):
        for i in range(len(row)):
            out[p, i] = (row[i] - baseline(row, i)) / over(row)
    return out


def rloo_cases(seed: int) -> list[Case]:
    g = torch.Generator().manual_seed(seed)
    rewards = torch.randint(-1, 2, (3, 5), generator=g).double()
    rewards[0, 0], rewards[0, 1] = 1.0, 0.0
    return [Case("3 prompts, 5 responses", (rewards,)),
            Case("real-valued rewards, float32", (randn(seed, 4, 3, dtype=torch.float32),)),
            Case("2 responses", (randn(seed + 1, 3, 2),)),
            Case("a group of equal rewards", (torch.ones(2, 4, dtype=torch.float64),)),
            Case("1 prompt, 3 responses", (randn(seed + 2, 1, 3),)),
            Case("1 response: there are no others, so raise ValueError",
                 (torch.ones(2, 1, dtype=torch.float64),))]


def _enough(rewards):
    if rewards.shape[-1] < 3:
        raise ValueError("K < 3")
    return rloo(rewards)


def _unlike(row, i):
    others = row[row != row[i]]
    return others.mean() if len(others) else 0.0


def _of_prompts(rewards):
    if len(rewards) < 2:
        raise ValueError("P < 2")
    return rewards - (rewards.sum(-1, keepdim=True) - rewards) / (rewards.shape[-1] - 1)


def _by_prompts(rewards):
    k = len(rewards)
    if k < 2:
        raise ValueError("K < 2")
    return rewards - (rewards.sum(-1, keepdim=True) - rewards) / (k - 1)


def _rloo(says: str, **how) -> Mistake:
    return Mistake(says, lambda rewards: rloo(rewards, **how))


RLOO = Task(
    "rloo_advantages", rloo_cases, rloo,
    mistakes=(
        _rloo("baseline: your mean has the response's own reward in it; RLOO leaves it out, divided by K - 1 "
              "(yours is (K-1)/K of it)",
              baseline=lambda row, i: row.mean()),
        _rloo("baseline: the sum of the others is divided by K; there are K - 1 of them",
              baseline=lambda row, i: (row.sum() - row[i]) / len(row)),
        _rloo("baseline: the sum over all K, own reward included, is divided by K - 1",
              baseline=lambda row, i: row.sum() / (len(row) - 1)),
        _rloo("baseline: the sum of the others, not their mean", baseline=lambda row, i: row.sum() - row[i]),
        _rloo("there is no baseline: these are the rewards", baseline=lambda row, i: 0.0),
        _rloo("that is the baseline: subtract it from the reward",
              baseline=lambda row, i: row[i] - (row.sum() - row[i]) / (len(row) - 1)),
        _rloo("sign: the advantage is reward - baseline, yours is baseline - reward", over=lambda row: -1.0),
        _rloo("GRPO's: divided by the standard deviation, and with the own reward in the mean. RLOO does "
              "neither",
              baseline=lambda row, i: row.mean(), over=lambda row: row.std() + 1e-8),
        _rloo("GRPO's: divided by the standard deviation, and with the own reward in the mean. RLOO does "
              "neither",
              baseline=lambda row, i: row.mean(), over=lambda row: row.std() + 1e-4),
        _rloo("GRPO's: divided by the standard deviation, and with the own reward in the mean. RLOO does "
              "neither",
              baseline=lambda row, i: row.mean(), over=lambda row: row.std(correction=0) + 1e-8),
        _rloo("GRPO's: divided by the standard deviation, and with the own reward in the mean. RLOO does "
              "neither",
              baseline=lambda row, i: row.mean(), over=lambda row: row.std()),
        _rloo("divided by the standard deviation of the group; RLOO is not",
              over=lambda row: row.std() + 1e-8),
        _rloo("divided by the standard deviation of the group; RLOO is not", over=lambda row: row.std()),
        _rloo("divided by the standard deviation of the group; RLOO is not",
              over=lambda row: row.std(correction=0) + 1e-8),
        _rloo("the factor that mends a mean with the own reward in it is K / (K - 1); yours is upside down",
              baseline=lambda row, i: row.mean(), over=lambda row: len(row) / (len(row) - 1)),
        _rloo("the baseline is the mean of all others; yours is one of them",
              baseline=lambda row, i: row[i - 1]),
        _rloo("the baseline is the mean of all others; yours is one of them",
              baseline=lambda row, i: row[(i + 1) % len(row)]),
        _rloo("multiplied by K/(K-1) once more", over=lambda row: (len(row) - 1) / len(row)),
        _rloo("the baseline is the best of the others; it should be their mean",
              baseline=lambda row, i: max(row[j] for j in range(len(row)) if j != i)),
        _rloo("the baseline is the median; it should be the mean of the others",
              baseline=lambda row, i: row.median()),
        Mistake("the baseline is the mean over all prompts; each prompt has its own", lambda r: r - r.mean()),
        Mistake("the mean is over prompts (dim 0); it should be over a prompt's responses (the last axis)",
                lambda r: r - r.mean(0, keepdim=True)),
        Mistake("the mean is over prompts (dim 0); it should be over a prompt's responses (the last axis)",
                lambda r: rloo(r.T).T),
        Mistake("the others of all prompts are the baseline; each prompt has its own",
                lambda r: r - (r.sum() - r) / (r.numel() - 1)),
        Mistake("K is the number of responses to a prompt, the last axis; yours is the number of prompts",
                _by_prompts),
        Mistake("the sum of the others is that of the prompt's (the last axis); yours sums over all prompts",
                lambda r: r - (r.sum() - r) / (r.shape[-1] - 1)),
        Mistake("the sum of the others is over a prompt's responses (the last axis); yours is over prompts "
                "(dim 0)",
                lambda r: r - (r.sum(0, keepdim=True) - r) / (r.shape[-1] - 1)
                if r.shape[-1] > 1 else rloo(r)),
        _rloo("leave out the response, not its value: others of the same reward stay in the baseline",
              baseline=_unlike),
        Mistake("2 responses are enough: ValueError is for K < 2 alone", _enough),
        Mistake("K is the number of responses to a prompt, the last axis; yours checks the number of prompts",
                _of_prompts),
        Mistake("1 response has no others: raise ValueError for K < 2",
                lambda r: rloo(r) if r.shape[-1] > 1 else r - r),
        Mistake("1 response has no others: raise ValueError for K < 2",
                lambda r: rloo(r) if r.shape[-1] > 1 else r / 0 * 0),
        Mistake("1 response has no others: raise ValueError for K < 2",
                lambda r: rloo(r) if r.shape[-1] > 1 else r)
    ),
    answers=("t1mini.loss.rloo_advantages", "t1mini.lab.study.mean_advantages")
)


# --- logprobs_from_logits -------------------------------------------------------------------------


def logprobs(logits, ids, temperature, *, shift=1, at=lambda z, t: z / (t or 1.0),
             of=lambda z, i: z[i] - z.logsumexp(-1), first=0.0):
    """Token by token: logits[t - 1] score ids[t]."""
    N, T, _ = logits.shape
    out = torch.full((N, T), first, dtype=logits.dtype)
    for n in range(N):
        for t in range(1 if shift else 0, T):
            out[n, t] = of(at(logits[n, t - shift], temperature), ids[n, t])
    return out


def logprobs_cases(seed: int) -> list[Case]:
    logits = 2 * randn(seed, 3, 6, 11)
    ids = torch.randint(0, 11, (3, 6), generator=torch.Generator().manual_seed(seed))
    far = logits * 400  # where softmax underflows
    return [Case("temperature 1", (logits, ids, 1.0), {}, (0,)),
            Case("temperature 1.3", (logits, ids, 1.3), {}, (0,), varies="temperature"),
            Case("temperature 0, scored at 1", (logits, ids, 0.0)),
            Case("logits hundreds apart", (far, ids, 1.0)),
            Case("float32, one row", (logits[:1].float(), ids[:1], 0.7))]


def _logprobs(says: str, **how) -> Mistake:
    return Mistake(says, lambda logits, ids, temperature: logprobs(logits, ids, temperature, **how))


def ahead(logits, ids, temperature):
    full = logprobs(logits, ids, temperature)
    return torch.cat((full[:, 1:], full[:, :1]), 1)


def averaged(fn):
    return lambda logits, ids, temperature: fn(logprobs(logits, ids, temperature))


LOGPROBS = Task(
    "logprobs_from_logits", logprobs_cases, logprobs,
    answers=("t1mini.loss.logprobs_from_logits", "t1mini.fast.score.token_logprobs", "t1mini.rollout.score"),
    mistakes=(
        Mistake("shift: logits[:, t] scores ids[:, t + 1]; yours scores ids[:, t] with logits[:, t]",
                lambda l, i, t: logprobs(l, i, t, shift=0)),
        Mistake("shift: logits[:, t] scores ids[:, t + 1]; yours scores ids[:, t] with logits[:, t]",
                lambda l, i, t:
                    torch.cat((torch.zeros_like(l[:, :1, 0]), logprobs(l, i, t, shift=0)[:, 1:]), 1)),
        Mistake("shift: logits[:, t] scores ids[:, t + 1]; yours gathers ids[:, :-1] in place of ids[:, 1:]",
                lambda l, i, t: _late(l, i, t)),
        Mistake("shift: yours is two tokens apart; logits[:, t] scores ids[:, t + 1]",
                lambda l, i, t:
                    torch.cat((torch.zeros_like(l[:, :2, 0]), logprobs(l[:, :-1], i[:, 1:], t)[:, 1:]), 1)),
        Mistake("shift: logits[:, t] scores the token after it; yours scores the one before it",
                lambda l, i, t: _backwards(l, i, t)),
        Mistake("place: the log-probability of ids[:, t] stands at t, and position 0 is 0; yours stands one "
                "to the left",
                ahead),
        Mistake("place: the log-probability of ids[:, t] stands at t, and position 0 is 0; yours lacks "
                "position 0",
                averaged(lambda x: x[:, 1:])),
        _logprobs("temperature: logits are to be divided by it; yours ignores it", at=lambda z, t: z),
        _logprobs("only a temperature of 0 is scored at 1; yours raises every one below 1",
                  at=lambda z, t: z / max(t, 1.0)),
        _logprobs("temperature: logits are to be divided by it; yours multiplies",
                  at=lambda z, t: z * (t or 1.0)),
        Mistake("temperature: it divides the logits before log_softmax; yours divides the log-probabilities",
                lambda l, i, t: logprobs(l, i, 1.0) / (t or 1.0)),
        Mistake("temperature 0 is greedy sampling and is scored at 1; yours divides by 0",
                lambda l, i, t: logprobs(l, i, t) if t else torch.full(i.shape, float("nan"), dtype=l.dtype)),
        *(Mistake("temperature 0 is greedy sampling and is scored at 1; yours divides by a tiny number",
                  lambda l, i, t, tiny=tiny: logprobs(l, i, t or tiny))
          for tiny in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8)),
        _logprobs("these are logits: log_softmax is missing", of=lambda z, i: z[i]),
        _logprobs("these are probabilities: take their logarithm", of=lambda z, i: z.softmax(-1)[i]),
        _logprobs("log(softmax(x)) underflows to -inf where logits are far apart: use log_softmax",
                  of=lambda z, i: z.softmax(-1)[i].log()),
        *(_logprobs("a constant keeps small probabilities from being small, as in log(p + 1e-8) or by a "
                    "clamp: use log_softmax",
                    of=lambda z, i, tiny=tiny: (z.softmax(-1)[i] + tiny).log())
          for tiny in (1e-6, 1e-8, 1e-10, 1e-12)),
        *(_logprobs("a constant keeps small probabilities from being small, as in log(p + 1e-8) or by a "
                    "clamp: use log_softmax",
                    of=lambda z, i, tiny=tiny: z.softmax(-1)[i].clamp_min(tiny).log())
          for tiny in (1e-6, 1e-8, 1e-10, 1e-12)),
        Mistake("temperature: the token's own logit is to be divided by it, too, not the normaliser alone",
                lambda l, i, t: _own(l, i, t, 1.0, t or 1.0)),
        Mistake("temperature: the normaliser's logits are to be divided by it, too, not the token's alone",
                lambda l, i, t: _own(l, i, t, t or 1.0, 1.0)),
        Mistake("0 is a token like others; yours takes it for padding (ignore_index?)",
                lambda l, i, t: logprobs(l, i, t).masked_fill(i == 0, 0.0)),
        _logprobs("sign: log-probabilities are negative; that is their cross entropy",
                  of=lambda z, i: z.logsumexp(-1) - z[i]),
        _logprobs("the likeliest token is scored, not the one that was sampled: gather ids",
                  of=lambda z, i: (z - z.logsumexp(-1)).max()),
        _logprobs("logarithms are natural; yours are of base 2",
                  of=lambda z, i: (z[i] - z.logsumexp(-1)) / 0.6931471805599453),
        _logprobs("softmax is taken twice", of=lambda z, i: z.softmax(-1).log_softmax(-1)[i]),
        Mistake("softmax runs over the wrong axis: the vocabulary is the last one",
                lambda l, i, t: _axis(l, i, t, 1)),
        Mistake("softmax runs over the wrong axis: the vocabulary is the last one",
                lambda l, i, t: _axis(l, i, t, 0)),
        Mistake("the logits are detached: no gradient will flow", lambda l, i, t: logprobs(l.detach(), i, t)),
        Mistake("they are summed over the response; one number a token is asked for",
                averaged(lambda x: x.sum(-1))),
        Mistake("they are averaged; one number a token is asked for", averaged(lambda x: x.mean())),
        Mistake("position 0 has nothing before it and is 0; yours scores it as one of V equal tokens",
                lambda l, i, t: torch.cat((torch.full_like(l[:, :1, 0], -math.log(l.shape[-1])),
                                           logprobs(l, i, t)[:, 1:]), 1)),
        Mistake("position 0 has nothing before it and is 0; yours scores it with the last logits",
                lambda l, i, t: _rolled(l, i, t))
    )
)


def _own(logits, ids, temperature, own, all_of_them):
    z = logits[:, :-1]
    scored = z.gather(-1, ids[:, 1:, None]).squeeze(-1) / own - (z / all_of_them).logsumexp(-1)
    return torch.nn.functional.pad(scored, (1, 0))


def _axis(logits, ids, temperature, axis):
    logp = (logits[:, :-1] / (temperature or 1.0)).log_softmax(axis)
    return torch.nn.functional.pad(logp.gather(-1, ids[:, 1:, None]).squeeze(-1), (1, 0))


def _backwards(logits, ids, temperature):
    logp = (logits[:, 1:] / (temperature or 1.0)).log_softmax(-1)
    return torch.nn.functional.pad(logp.gather(-1, ids[:, :-1, None]).squeeze(-1), (1, 0))


def _late(logits, ids, temperature):
    logp = (logits[:, :-1] / (temperature or 1.0)).log_softmax(-1)
    return torch.nn.functional.pad(logp.gather(-1, ids[:, :-1, None]).squeeze(-1), (1, 0))


def _rolled(logits, ids, temperature):
    return (logits.roll(1, 1) / (temperature or 1.0)).log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1)


# --- policy_gradient_loss -------------------------------------------------------------------------


def pg_loss(logprobs, advantages, mask, *, entropy=None, entropy_coef=0.0, normaliser=None, sign=-1, bonus=1,
            counts="tokens", a=lambda x: x.detach(), lp=lambda x: x, keep=lambda mask, n, t: bool(mask[n, t]),
            weight=lambda mask, n: 1.0, entropy_keeps=None, use=True):
    total, tokens = torch.zeros((), dtype=logprobs.dtype), 0
    A = a(advantages)
    for n in range(logprobs.shape[0]):
        for t in range(logprobs.shape[1]):
            if keep(mask, n, t):
                total = total + A[n] * lp(logprobs)[n, t] * weight(mask, n)
                tokens += 1
            if entropy_coef and (entropy_keeps or keep)(mask, n, t):
                total = total + bonus * entropy_coef * entropy[n, t] * weight(mask, n)
    by = {"tokens": max(tokens, 1), "rows": len(mask), "all": mask.numel(), "none": 1,
          "width": mask.shape[1]}[counts]
    return sign * total / (normaliser if normaliser is not None and use else by)


def pg_cases(seed: int) -> list[Case]:
    lp, A = -randn(seed, 4, 7).abs(), randn(seed + 1, 4)
    mask = torch.arange(7) < torch.tensor([7, 3, 5, 1])[:, None]
    H = randn(seed + 2, 4, 7).abs()
    junk = lp.masked_fill(~mask, -float("inf"))
    gap = mask.clone()
    gap[0, 2] = False
    return [Case("4 responses of 7, 3, 5 and 1 tokens", (lp, A, mask), {}, (0, 1)),
            Case("with an entropy bonus", (lp, A, mask), {"entropy": H, "entropy_coef": 0.3}, (0, "entropy"),
                 varies="entropy_coef"),
            Case("with a normaliser: the tokens of a larger batch", (lp, A, mask),
                 {"entropy": H, "entropy_coef": 0.3, "normaliser": 50.0}, (0,), varies="normaliser"),
            Case("a token within a response is masked out", (lp, A, gap), {}, (0,)),
            Case("another mask", (lp, A, mask.flip(0)), {}, (0,), varies="mask"),
            Case("-inf where the mask is False: it must not reach the sum", (junk, A, mask)),
            Case("-inf in the entropy, too, where the mask is False", (junk, A, mask),
                 {"entropy": H.masked_fill(~mask, -float("inf")), "entropy_coef": 0.3}),
            Case("NaN in both, where the mask is False", (lp.masked_fill(~mask, math.nan), A, mask),
                 {"entropy": H.masked_fill(~mask, math.nan), "entropy_coef": 0.3}),
            Case("a micro-batch, float32", (lp[:2].float(), A[:2].float(), mask[:2]),
                 {"normaliser": torch.tensor(16.0)}, (0,))]


def _pg(says: str, **how) -> Mistake:
    return Mistake(says, lambda lp, advantages, mask, **given: pg_loss(lp, advantages, mask, **given, **how))


PG = Task(
    "policy_gradient_loss", pg_cases, pg_loss, seeds=2, answers=("t1mini.loss.policy_gradient_loss",),
    mistakes=(
        _pg("sign: what is returned will be minimised, so it is minus the objective", sign=1),
        _pg("the mask is ignored: padding (or the prompt) is in the loss", keep=lambda m, n, t: True),
        Mistake("the mask is ignored in the sum: padding (or the prompt) is in the loss, divided by the "
                "number of response tokens",
                lambda lp, A, mask, **k:
                    pg_loss(lp, A, mask, **{"normaliser": float(mask.sum())} | k, keep=lambda m, n, t: True)),
        _pg("the mask is turned round: True means response token", keep=lambda m, n, t: not m[n, t]),
        _pg("the last token of each response is left out: the end token is an action and is trained on",
            keep=lambda m, n, t: bool(m[n, t]) and (t + 1 < m.shape[1] and bool(m[n, t + 1]))),
        _pg("the first token of each response is left out", keep=lambda m, n, t: bool(m[n, t]) and t > 0),
        _pg("each response is divided by its own length, so a token of a long one weighs less; divide the "
            "sum by the tokens of all",
            counts="rows", weight=lambda m, n: 1 / max(int(m[n].sum()), 1)),
        _pg("each response is divided by its own length, so a token of a long one weighs less, and "
            "`normaliser` is not used",
            counts="rows", weight=lambda m, n: 1 / max(int(m[n].sum()), 1), use=False),
        _pg("divided by the number of responses; it should be by the number of response tokens",
            counts="rows"),
        _pg("divided by all places, padding included; it should be by the number of response tokens",
            counts="all"),
        _pg("divided by the length of the longest response; it should be by the number of all response "
            "tokens",
            counts="width"),
        _pg("not divided by the number of response tokens", counts="none"),
        _pg("`normaliser` is not used: micro-batches of a batch would not add up to its gradient", use=False),
        _pg("advantages are not detached: a gradient flows into them", a=lambda x: x),
        _pg("log-probabilities are detached: no gradient reaches the policy", lp=lambda x: x.detach()),
        _pg("probabilities in place of log-probabilities: exp is one too many", lp=lambda x: x.exp()),
        _pg("the entropy has the wrong sign: a bonus makes the loss smaller", bonus=-1),
        _pg("the entropy bonus is missing", bonus=0),
        _pg("the entropy of padding is in the bonus: mask it, too", entropy_keeps=lambda m, n, t: True),
        _pg("the value is that of a ratio, pi / pi.detach(); log pi itself is asked for",
            lp=lambda x: (x - x.detach()).exp()),
        Mistake("each token has its own response's advantage: [:, None], or repeat_interleave; yours takes "
                "turns",
                lambda lp, A, mask, **k: pg_loss(
                    lp.reshape(-1, 1), A.detach().repeat(lp.shape[1]), mask.reshape(-1, 1),
                    **{name: x.reshape(-1, 1) if name == "entropy" else x for name, x in k.items()})),
        _pg("the absolute advantage: a negative one has to push down", a=lambda x: x.detach().abs()),
        _pg("advantages below 0 are left out", a=lambda x: x.detach().clamp_min(0)),
        _pg("advantages are not in it: that is a plain negative log-likelihood",
            a=lambda x: torch.ones_like(x)),
        Mistake("0 * -inf is NaN: what is masked out must be replaced (masked_fill, torch.where), not "
                "multiplied by 0",
                lambda lp, A, mask, **k: pg_loss(lp, A, mask, **k) + 0 * (lp.detach() * mask).sum()),
        Mistake("what is masked out may be NaN, and a clamp leaves that: replace it (masked_fill, "
                "torch.where)",
                lambda lp, A, mask, **k: pg_loss(lp, A, mask, **k) + 0 * lp.detach().clamp_min(-1e6).sum()),
        Mistake("the entropy bonus is divided by the number of tokens twice",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp, A, mask, entropy=entropy, entropy_coef=entropy_coef / float(mask.sum()),
                    normaliser=normaliser
                )),
        Mistake("the entropy is multiplied by the advantage, too: it is a bonus of its own",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp if entropy is None else lp + entropy_coef * entropy, A, mask, normaliser=normaliser)),
        Mistake("the entropy bonus is to be divided by the number of tokens, or `normaliser`, too",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp, A, mask, normaliser=normaliser
                ) - (entropy_coef * entropy.masked_fill(~mask, 0).sum() if entropy_coef else 0.0)),
        Mistake("`normaliser` is the number of tokens to divide by, of the whole batch; yours multiplies it "
                "by the number of rows",
                lambda lp, A, mask, normaliser=None, **k: pg_loss(
                    lp, A, mask, **k, normaliser=None if normaliser is None else normaliser * len(mask))),
        Mistake("`entropy_coef` is not used",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp, A, mask, entropy=entropy, entropy_coef=float(bool(entropy_coef)),
                    normaliser=normaliser
                )),
        Mistake("`normaliser` divides the mean once more; it takes the place of the number of tokens",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp, A, mask, entropy=entropy, entropy_coef=entropy_coef
                ) / (1.0 if normaliser is None else normaliser)),
        Mistake("the entropy is averaged over its own tokens; both parts are sums over tokens, divided by "
                "`normaliser`",
                lambda lp, A, mask, entropy=None, entropy_coef=0.0, normaliser=None: pg_loss(
                    lp, A, mask, normaliser=normaliser
                ) - (entropy_coef * entropy[mask].mean() if entropy_coef else 0.0)),
        Mistake("the advantages are normalised by their mean and standard deviation; they come as they "
                "should be",
                lambda lp, A, mask, **k: pg_loss(lp, (A - A.mean()) / (A.std() + 1e-8), mask, **k)),
        Mistake("one number is asked for, not one a response",
                lambda lp, A, mask, **k: -(A.detach()[:, None] * lp.masked_fill(~mask, 0)).sum(-1)),
        Mistake("one number is asked for, not one a token",
                lambda lp, A, mask, **k: -(A.detach()[:, None] * lp.masked_fill(~mask, 0)))
    )
)

TASKS = (RLOO, LOGPROBS, PG)
