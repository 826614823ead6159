"""Lesson 8: sequence_kl, centred_kl, ema_update and advantages."""

import torch

from checking.ex01 import randn
from checking.tasks import Case, Mistake, Task, differs
from checking.values import Make, Once, made

# --- sequence_kl ----------------------------------------------------------------------------------


def sequence_kl(logprobs, ref_logprobs, mask, *, term=lambda a, b: a - b, counts=lambda m: True,
                keep=lambda m, n, t: bool(m[n, t]), detach=True, over=lambda m, n: 1):
    rows = []
    for n in range(len(mask)):
        terms = [term(logprobs[n, t], ref_logprobs[n, t]) for t in range(mask.shape[1]) if keep(mask, n, t)]
        rows.append(sum(terms, torch.zeros((), dtype=logprobs.dtype)) / over(mask, n))
    kl = torch.stack(rows)
    return kl.detach() if detach else kl


def kl_cases(seed: int) -> list[Case]:
    lp, ref = -randn(seed, 4, 6).abs(), -randn(seed + 1, 4, 6).abs()
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]
    holes = lp.masked_fill(~mask, -float("inf")), ref.masked_fill(~mask, -float("inf"))
    return [Case("responses of 6, 2, 4 and 1 tokens", (lp, ref, mask), {}, (0, 1)),
            Case("another mask", (lp, ref, mask.flip(0)), varies="mask"),
            Case("-inf where the mask is False", (*holes, mask)),
            Case("NaN where the mask is False",
                 (lp.masked_fill(~mask, float("nan")), ref.masked_fill(~mask, float("nan")), mask)),
            Case("float32, the reference is the policy", (lp.float(), lp.float(), mask))]


def _kl(says: str, **how) -> Mistake:
    return Mistake(says,
                   lambda logprobs, ref_logprobs, mask: sequence_kl(logprobs, ref_logprobs, mask, **how))


SEQUENCE_KL = Task(
    "sequence_kl", kl_cases, sequence_kl, answers=("t1mini.loss.sequence_kl",), same_dtype=True,
    mistakes=(
        _kl("sign: it is log pi - log pi_ref; yours is the other way round", term=lambda a, b: b - a),
        _kl("not detached: differentiated, this KL would push nowhere on average; it is a cost within the "
            "advantage",
            detach=False),
        _kl("only the reference is detached: the policy's part has to be, too", detach=False,
            term=lambda a, b: a - b.detach()),
        _kl("the mask is ignored: padding is in the sum", keep=lambda m, n, t: True),
        _kl("the mask is turned round: True means response token", keep=lambda m, n, t: not m[n, t]),
        _kl("the mean over a response's tokens; the sum is asked for, in nats a response",
            over=lambda m, n: max(int(m[n].sum()), 1)),
        _kl("the mean over all places, padding included; the sum over response tokens is asked for",
            over=lambda m, n: m.shape[1]),
        _kl("that is the k2 estimator, (log ratio)^2 / 2; the plain log ratio is asked for",
            term=lambda a, b: (a - b) ** 2 / 2),
        _kl("that is the k3 estimator, as in GRPO: ratio - 1 - log ratio; the plain log ratio is asked for",
            term=lambda a, b: (b - a).exp() - (b - a) - 1),
        _kl("that is the k3 estimator the wrong way round; the plain log ratio is asked for",
            term=lambda a, b: (a - b).exp() - (a - b) - 1),
        _kl("the absolute difference: it may be below 0, and has to be", term=lambda a, b: (a - b).abs()),
        _kl("cut off at 0: it may be below 0, and has to be", term=lambda a, b: (a - b).clamp_min(0)),
        Mistake("cut off at 0: it may be below 0, and has to be",
                lambda a, b, m: sequence_kl(a, b, m).clamp_min(0)),
        _kl("weighted by the probability: the sampling does that already",
            term=lambda a, b: a.exp() * (a - b)),
        _kl("the ratio of probabilities, not its logarithm", term=lambda a, b: (a - b).exp()),
        _kl("the squared difference: the plain log ratio is asked for", term=lambda a, b: (a - b) ** 2),
        _kl("only log pi: the reference is not in it", term=lambda a, b: a),
        _kl("only log pi_ref: the policy is not in it", term=lambda a, b: b),
        _kl("position 0 is left out; where the mask is True it is a response token, too",
            keep=lambda m, n, t: bool(m[n, t]) and t > 0),
        _kl("the last token of each response is left out",
            keep=lambda m, n, t: bool(m[n, t]) and t + 1 < m.shape[1] and bool(m[n, t + 1])),
        Mistake("0 * -inf is NaN: what is masked out must be replaced (masked_fill, torch.where), not "
                "multiplied by 0",
                lambda a, b, m: ((a - b) * m).sum(-1).detach()),
        Mistake("what is masked out may be NaN, and a clamp leaves that: replace it (masked_fill, "
                "torch.where)",
                lambda a, b, m: ((a.clamp_min(-1e6) - b.clamp_min(-1e6)) * m).sum(-1).detach()),
        Mistake("summed over responses (dim 0); the sum is over a response's tokens, the last axis",
                lambda a, b, m: (a - b).masked_fill(~m, 0).sum(0).detach()),
        Mistake("one number a response is asked for, not one a token",
                lambda a, b, m: (a - b).masked_fill(~m, 0).detach()),
        Mistake("one number a response is asked for, not one for all",
                lambda a, b, m: (a - b).masked_fill(~m, 0).sum().detach()),
        Mistake("one number a response is asked for, not one for all",
                lambda a, b, m: (a - b)[m].mean().detach())
    )
)


# --- centred_kl -----------------------------------------------------------------------------------


def centred_kl(kl):
    return torch.stack([torch.stack([x - sum(row) / len(row) for x in row]) for row in kl])


CENTRED = Task(
    "centred_kl",
    lambda seed: [Case("3 prompts, 5 responses", (randn(seed, 3, 5),)),
                  Case("float32, 2 responses", (randn(seed, 4, 2, dtype=torch.float32) + 3,)),
                  Case("1 response: 0", (randn(seed, 3, 1),))],
    centred_kl, answers=("t1mini.loss.centred_kl", "t1mini.lab.study.mean_advantages"),
    mistakes=(Mistake("the mean is over all prompts; each prompt has its own", lambda kl: kl - kl.mean()),
              Mistake("the mean is over prompts (dim 0); it should be over a prompt's responses (the last "
                      "axis)",
                      lambda kl: kl - kl.mean(0, keepdim=True)),
              Mistake("the own KL is left out of the mean (K - 1); here the mean is over all K",
                      lambda kl: kl - (kl.sum(-1, keepdim=True) - kl) / max(kl.shape[-1] - 1, 1)),
              Mistake("divided by the standard deviation: only the mean is taken away",
                      lambda kl: (kl - kl.mean(-1, keepdim=True)) / (_std(kl) + 1e-8)),
              Mistake("divided by the standard deviation: only the mean is taken away",
                      lambda kl: (kl - kl.mean(-1, keepdim=True)) / _std(kl)),
              Mistake("the mean of K is their sum divided by K; yours is divided by K - 1",
                      lambda kl: kl - kl.sum(-1, keepdim=True) / (kl.shape[-1] - 1)),
              Mistake("divided by the standard deviation: only the mean is taken away",
                      lambda kl: centred_kl(kl) / (kl.std(-1, keepdim=True, correction=0) + 1e-8)),
              *(Mistake("a response's KL may be below 0, and counts as it is",
                        lambda kl, of=of: centred_kl(of(kl)))
                for of in (torch.abs, lambda kl: kl.clamp_min(0))),
              Mistake("nothing is taken away", lambda kl: kl),
              Mistake("that is the mean: take it away from the KL",
                      lambda kl: kl.mean(-1, keepdim=True).expand_as(kl)),
              Mistake("sign: it is KL - mean, yours is mean - KL", lambda kl: kl.mean(-1, keepdim=True) - kl),
              Mistake("the median in place of the mean", lambda kl: kl - kl.median(-1, keepdim=True).values),
              Mistake("the first response's KL in place of the mean", lambda kl: kl - kl[:, :1]),
              Mistake("the sum in place of the mean", lambda kl: kl - kl.sum(-1, keepdim=True)),
              Mistake("the smallest in place of the mean", lambda kl: kl - kl.amin(-1, keepdim=True)),
              Mistake("the largest in place of the mean", lambda kl: kl - kl.amax(-1, keepdim=True)),
              Mistake("cut off at 0: half of them are below 0, and have to be",
                      lambda kl: (kl - kl.mean(-1, keepdim=True)).clamp_min(0)),
              Mistake("the absolute difference: half of them are below 0",
                      lambda kl: (kl - kl.mean(-1, keepdim=True)).abs()))
)


def _std(kl):
    return kl.std(-1, keepdim=True) if kl.shape[-1] > 1 else kl * float("nan")


# --- ema_update -----------------------------------------------------------------------------------


def ema_update(ref_parameters, parameters, decay, *, mix=lambda r, p, d: d * r + (1 - d) * p,
               which=slice(None)):
    if not 0 <= decay <= 1:
        raise ValueError("decay")
    with torch.no_grad():
        for ref, parameter in list(zip(ref_parameters, parameters))[which]:
            ref.copy_(mix(ref.double(), parameter.double(), decay))


def ema_cases(seed: int) -> list[Case]:
    ref, new = ([randn(s, 3, 2).float(), randn(s + 1, 4).float(), randn(s + 2, 1, 5).float()]
                for s in (seed, seed + 3))
    trained = lambda: [Make("trained", (x,)) for x in new]
    near = [torch.ones(5)], [torch.full((5,), 1.001)]  # in bfloat16 such a step is rounded away
    return [Case("decay 0.75", (list(ref), trained(), 0.75)),
            Case("decay 0.99", (list(ref), trained(), 0.99), varies="decay"),
            Case("decay 1: nothing moves", (list(ref), trained(), 1.0)),
            Case("decay 0: the policy itself", (list(ref), trained(), 0.0)),
            Case("a small difference", (*near, 0.9)),
            Case("parameters that can be walked through once, as policy.parameters() can",
                 (Make("once", (list(ref),)), Make("once", (trained(),)), 0.75)),
            Case("decay 1.5: raise ValueError", (list(ref), trained(), 1.5)),
            Case("decay -0.1: raise ValueError", (list(ref), trained(), -0.1))]


def _ema(says: str, **how) -> Mistake:
    return Mistake(says, lambda ref, new, decay: ema_update(ref, new, decay, **how))


def unchecked(ref, new, decay):
    with torch.no_grad():
        for r, p in zip(ref, new):
            r.copy_(decay * r + (1 - decay) * p)


def tracked(ref, new, decay):
    if not 0 <= decay <= 1:
        raise ValueError
    for r, p in zip(ref, new):
        r.copy_(decay * r + (1 - decay) * p)


def twice(ref, new, decay):
    if not 0 <= decay <= 1:
        raise ValueError
    with torch.no_grad():
        for r in ref:
            r.mul_(decay)
        for r, p in zip(ref, new):
            r.add_((1 - decay) * p)


def refusing(ref, new, decay, ends):
    if decay in ends:
        raise ValueError
    return ema_update(ref, new, decay)


def looked(ref, new, decay):
    return ema_update(ref, list(new) and new, decay)


def measured(ref, new, decay):
    return ema_update(ref, new, decay) if len(ref) == len(new) else None


def policy_moved(cases, outcomes):
    """What the policy's tensors, which have to stay, say of which of the two was moved."""
    for case, outcome in zip(cases, outcomes):
        before, after = made(case.args)[1], outcome["args"][1:2]
        before = before.items if isinstance(before, Once) else before
        if not outcome["error"] and after and differs(before, after[0]):
            return ("the policy is moved towards the reference: it is the reference that moves, the policy "
                    "stays")
    return None


def nothing(ref, new, decay):
    if not 0 <= decay <= 1:
        raise ValueError


def ema_agrees(expected, got) -> str | None:
    """The work is done in place; what is returned does not matter."""
    return None


EMA = Task(
    "ema_update", ema_cases, ema_update, in_place=(0,), agrees=ema_agrees, look=policy_moved,
    answers=("t1mini.reference.ema_update",),
    mistakes=(_ema("decay: it is the share of the reference that stays; yours is exchanged, so the reference "
                   "is the policy at once",
                   mix=lambda r, p, d: (1 - d) * r + d * p),
              _ema("in bfloat16 the step is rounded away and the reference stands still: compute in float32",
                   mix=lambda r, p, d: (d * r.bfloat16() + (1 - d) * p.bfloat16()).bfloat16().double()),
              _ema("in bfloat16 the step is rounded away and the reference stands still: compute in float32",
                   mix=lambda r, p, d: r.bfloat16().lerp(p.bfloat16(), 1 - d).double()),
              _ema("the reference is replaced by the policy: decay is not used", mix=lambda r, p, d: p),
              _ema("only decay * ref: the policy is not in it", mix=lambda r, p, d: d * r),
              _ema("only (1 - decay) * policy: the reference is not in it", mix=lambda r, p, d: (1 - d) * p),
              _ema("decay * ref + policy: the policy's share is 1 - decay", mix=lambda r, p, d: d * r + p),
              _ema("ref + (1 - decay) * policy: the reference's share is decay",
                   mix=lambda r, p, d: r + (1 - d) * p),
              _ema("only the policy's share is 1 - decay; yours multiplies the reference's by it, too",
                   mix=lambda r, p, d: (d * r + p) * (1 - d)),
              _ema("only the reference's share is decay; yours multiplies the policy's by it, too",
                   mix=lambda r, p, d: (r + (1 - d) * p) * d),
              _ema("the step goes away from the policy: ref + (1 - decay) * (policy - ref)",
                   mix=lambda r, p, d: r - (1 - d) * (p - r)),
              _ema("the reference is scaled first, and the difference taken from what it has become: "
                   "ref + (1 - decay) * (policy - ref), of the old ref",
                   mix=lambda r, p, d: d * r + (1 - d) * (p - d * r)),
              *(Mistake("0 and 1 are decays, too: ValueError is for those outside",
                        lambda ref, new, decay, ends=ends: refusing(ref, new, decay, ends))
                for ends in ((0.0, 1.0), (0.0,), (1.0,))),
              _ema("the mean of both: decay is not used", mix=lambda r, p, d: (r + p) / 2),
              _ema("only the first parameter is moved", which=slice(0, 1)),
              _ema("the last parameter is not moved", which=slice(0, -1)),
              Mistake("the reference has to change in place: `ref = ...` only renames; use copy_, lerp_, "
                      "mul_ and add_",
                      nothing),
              Mistake("without torch.no_grad the reference becomes a part of the policy's graph, which grows "
                      "with every update",
                      tracked),
              Mistake("parameters may come as a generator, such as policy.parameters(): walk through it "
                      "once; yours does so twice, and the second time there is nothing",
                      twice),
              Mistake("parameters may come as a generator, such as policy.parameters(): walk through it "
                      "once; yours does so twice, and the second time there is nothing",
                      looked),
              Mistake("parameters may come as a generator, such as policy.parameters(), which has no length",
                      measured),
              Mistake("the update is applied twice",
                      lambda ref, new, decay:
                          (ema_update(ref, list(new), decay), ema_update(ref, list(new), decay)) and None),
              Mistake("a decay outside 0 ... 1 is a mistake of the caller: raise ValueError", unchecked))
)

# --- advantages -----------------------------------------------------------------------------------


def rloo(rewards):
    return torch.stack([torch.stack([x - (sum(row) - x) / (len(row) - 1) for x in row]) for row in rewards])


def advantages(rewards, kl, kl_coef):
    return rloo(rewards) - kl_coef * centred_kl(kl)


def advantage_cases(seed: int) -> list[Case]:
    rewards = torch.tensor([[1.0, 0, 0, -1, 0], [0, 0, 0, 0, 0], [1, 1, -1, 0, 1]], dtype=torch.float64)
    kl = randn(seed, 3, 5) + torch.tensor([[3.0], [0.0], [-2.0]])
    return [Case("3 prompts, 5 responses", (rewards, kl, 0.25)),
            Case("a larger kl_coef", (rewards, kl, 0.5), varies="kl_coef"),
            Case("kl_coef 0: leave-one-out alone", (rewards, kl, 0.0)),
            Case("float32, 2 responses", (rewards[:, :2].float(), kl[:, :2].float(), 0.25)),
            Case("all rewards equal: the KL alone decides", (0 * rewards + 1, kl, 0.25))]


def _mean(x):
    return x.mean(-1, keepdim=True)


ADVANTAGES = Task(
    "advantages", advantage_cases, advantages,
    mistakes=(
        Mistake("the KL is not centred: its mean over the prompt's responses is to be taken away first",
                lambda r, kl, c: rloo(r) - c * kl),
        Mistake("sign: the KL is a cost, minus kl_coef * centred KL",
                lambda r, kl, c: rloo(r) + c * centred_kl(kl)),
        Mistake("that is leave-one-out of r - kl_coef * KL, in which the KL counts K / (K - 1) times as "
                "much: take the centred KL away from leave-one-out of the rewards",
                lambda r, kl, c: rloo(r - c * kl)),
        Mistake("the baseline is the mean of the OTHER rewards; yours has the response's own in it",
                lambda r, kl, c: r - _mean(r) - c * centred_kl(kl)),
        Mistake("divided by the standard deviation: T1 does not",
                lambda r, kl, c: (r - _mean(r)) / (_std(r) + 1e-6) - c * centred_kl(kl)),
        Mistake("kl_coef weighs the whole centred KL: kl_coef * (KL - mean), with brackets",
                lambda r, kl, c: rloo(r) - (c * kl - _mean(kl))),
        Mistake("the KL is not in it", lambda r, kl, c: rloo(r)),
        Mistake("the rewards are not in it", lambda r, kl, c: -c * centred_kl(kl)),
        Mistake("kl_coef weighs the KL alone, not the rewards",
                lambda r, kl, c: c * (rloo(r) - centred_kl(kl))),
        Mistake("kl_coef is not used", lambda r, kl, c: rloo(r) - centred_kl(kl)),
        Mistake("the KL's mean is over all prompts; each prompt has its own",
                lambda r, kl, c: rloo(r) - c * (kl - kl.mean())),
        Mistake("the KL's mean is over prompts (dim 0); it should be over a prompt's responses (the last "
                "axis)",
                lambda r, kl, c: rloo(r) - c * (kl - kl.mean(0, keepdim=True))),
        Mistake("a reward of -1 is taken for 0: penalised is worse than wrong",
                lambda r, kl, c: rloo(r.clamp_min(0)) - c * centred_kl(kl)),
        Mistake("the baseline is over all prompts; each prompt has its own",
                lambda r, kl, c: rloo(r.reshape(1, -1)).view_as(r) - c * centred_kl(kl)),
        Mistake("the rewards have no baseline: the mean of the others is to be taken away",
                lambda r, kl, c: r - c * centred_kl(kl)),
        Mistake("lerp weighs both: the rewards' part is not to be multiplied by 1 - kl_coef",
                lambda r, kl, c: (1 - c) * rloo(r) - c * centred_kl(kl)),
        Mistake("where leave-one-out is 0 the KL counts none the less",
                lambda r, kl, c: advantages(r, kl, c).masked_fill(rloo(r) == 0, 0.0)),
        Mistake("-1 is the reward of a penalised response, to be compared with the others', not its "
                "advantage",
                lambda r, kl, c: rloo(r).masked_fill(r == -1, -1.0) - c * centred_kl(kl)),
        Mistake("-1 is the reward of a penalised response, to be compared with the others', not its "
                "advantage",
                lambda r, kl, c: advantages(r, kl, c).masked_fill(r == -1, -1.0)),
        Mistake("a response's KL may be below 0, and counts as it is",
                lambda r, kl, c: rloo(r) - c * centred_kl(kl.clamp_min(0))),
        Mistake("a response's KL may be below 0, and counts as it is",
                lambda r, kl, c: rloo(r) - c * centred_kl(kl.abs())),
        Mistake("the KL's mean is taken away, and the KL itself is not in it",
                lambda r, kl, c: rloo(r) - c * _mean(kl)),
        Mistake("only a penalty for a KL above the mean: it may be a bonus, too",
                lambda r, kl, c: rloo(r) - c * centred_kl(kl).clamp_min(0))
    )
)

TASKS = (SEQUENCE_KL, CENTRED, EMA, ADVANTAGES)
