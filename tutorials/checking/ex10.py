"""Lesson 10: truncate_thinking, wilson_interval, paired_bootstrap and accuracy_at."""

import math

import numpy as np

from checking.bugs import BUGS, BugTask
from checking.tasks import Case, Mistake, Task, differs
from checking.values import Make

# --- truncate_thinking ----------------------------------------------------------------------------


def truncate(ids, budget, end_id, *, cut=lambda i, budget: i < budget, ends=True, keep_end=False, first=True):
    out, ids = [], list(ids)
    last = max((i for i, x in enumerate(ids) if x == end_id), default=-1)
    for i, x in enumerate(ids):
        if not cut(i, budget):
            break
        if ends and x == end_id and (first or i == last):
            return [*out, x] if keep_end else out
        out.append(x)
    return out


def truncate_cases(seed: int) -> list[Case]:
    ids = [5, 6, 7, 9, 8, 4]
    return [Case("the cut comes before the end of the thinking", (ids, 2, 9)),
            Case("the end of the thinking comes first", (ids, 5, 9)),
            Case("a budget of exactly the thinking", (ids, 3, 9)),
            Case("the end token would be the last allowed one", (ids, 4, 9)),
            Case("a budget of 0", (ids, 0, 9)),
            Case("no end token", (ids, 4, 2)),
            Case("no end token, a budget beyond the end", (ids, 50, 2)),
            Case("two end tokens: the first counts", ([3, 9, 4, 9, 5], 10, 9)),
            Case("it begins with the end token", ([9, 3, 4], 2, 9)),
            Case("empty", ([], 3, 9)),
            Case("a tuple: a list is asked for", (tuple(ids), 2, 9))]


def _truncate(says: str, **how) -> Mistake:
    return Mistake(says, lambda ids, budget, end_id: truncate(ids, budget, end_id, **how))


TRUNCATE = Task(
    "truncate_thinking", truncate_cases, truncate, seeds=1,
    answers=("t1mini.inference_scaling.truncate_thinking", "t1mini.inference_scaling.thoughts"),
    mistakes=(
        _truncate("the thinking ends before its end token, wherever the budget is; yours goes on",
                  ends=False),
        _truncate("the end token is not part of the thinking", keep_end=True),
        _truncate("one token too many: `budget` of them are allowed", cut=lambda i, b: i <= b),
        _truncate("one token too few: `budget` of them are allowed", cut=lambda i, b: i < b - 1),
        _truncate("the budget is not used", cut=lambda i, b: True),
        _truncate("the first end token counts, yours is the last", first=False),
        Mistake("the last `budget` tokens; the first ones are asked for",
                lambda ids, b, e: truncate(ids, 10**9, e)[-b:] if b else []),
        Mistake("the last `budget` tokens; the first ones are asked for", lambda ids, b, e: list(ids)[-b:]),
        Mistake("the first token is dropped", lambda ids, b, e: truncate(ids, b, e)[1:]),
        Mistake("the end token is dropped, but what follows it stays",
                lambda ids, b, e: [x for x in list(ids)[:b] if x != e]),
        Mistake("the end token is dropped, but what follows it stays",
                lambda ids, b, e: [x for x in ids if x != e][:b]),
        Mistake("an end token is added: only the thinking is asked for",
                lambda ids, b, e: truncate(ids, b, e) + [e]),
        Mistake("where there is no end token, the budget still cuts",
                lambda ids, b, e: truncate(ids, b, e) if e in ids else list(ids)),
        Mistake("where there is no end token, the thinking is all there is up to the budget; yours is empty",
                lambda ids, b, e: truncate(ids, b, e) if e in ids else []),
        Mistake("yours is cut at the end token even where that is beyond the budget",
                lambda ids, b, e: truncate(ids, 10**9, e) if e in ids else list(ids)[:b]),
        Mistake("-1, for no end token, is a place as well: [:-1] leaves out the last token",
                lambda ids, b, e: (list(ids)[: list(ids).index(e)] if e in ids else list(ids)[:-1])[:b]),
        Mistake("a budget of 0 is a budget, and leaves nothing; `if budget` takes it for none",
                lambda ids, b, e: truncate(ids, b or 10**9, e)),
        Mistake("the end token may stand at place 0, which `if place` takes for none",
                lambda ids, b, e: list(ids)[:b] if list(ids)[:1] == [e] else truncate(ids, b, e)),
        Mistake("where there is no end token, list.index raises ValueError: look before",
                lambda ids, b, e: list(ids)[: min(b, list(ids).index(e))])
    )
)


# --- wilson_interval ------------------------------------------------------------------------------

Z = 1.96


def wilson(c, n, z=Z):
    """The p for which (c/n - p)^2 = z^2 p (1 - p) / n, by bisection on either side."""
    share = c / n
    off = lambda p: (share - p) ** 2 * n - z * z * p * (1 - p)

    def root(inside, outside):
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if off(middle) <= 0 else (inside, middle)
        return inside

    return (0.0 if c == 0 else root(share, 0.0), 1.0 if c == n else root(share, 1.0))


def closed(c, n, *, z=Z, centre=lambda p, n, z2: p + z2 / (2 * n),
           inner=lambda p, n, z2: p * (1 - p) / n + z2 / (4 * n * n), scale=lambda n, z2: 1 + z2 / n,
           root=math.sqrt, times=1.0):
    p, z2 = c / n, z * z
    half = times * z * root(inner(p, n, z2))
    return (centre(p, n, z2) - half) / scale(n, z2), (centre(p, n, z2) + half) / scale(n, z2)


def wald(c, n, z=Z):
    p = c / n
    half = z * math.sqrt(p * (1 - p) / n)
    return p - half, p + half


def _halves(c, n, centre_too, half_too):
    low, high = closed(c, n, scale=lambda n, z2: 1.0)
    centre, half = (low + high) / 2, (high - low) / 2
    scale = 1 + Z * Z / n
    centre, half = centre / scale**centre_too, half / scale**half_too
    return centre - half, centre + half


def _outside(c, n):
    p = c / n
    middle, half = p + Z * Z / (2 * n), Z * (math.sqrt(p * (1 - p) / n) + Z * Z / (4 * n * n))
    return (middle - half) / (1 + Z * Z / n), (middle + half) / (1 + Z * Z / n)


def clipped(pair):
    return max(0.0, pair[0]), min(1.0, pair[1])


def wilson_cases(seed: int) -> list[Case]:
    return [Case(f"{c} of {n}", (c, n))
            for c, n in ((8, 10), (1, 4), (0, 5), (5, 5), (330, 1000), (1, 2), (3, 40))]


def _wilson(says: str, **how) -> Mistake:
    return Mistake(says, lambda c, n: closed(c, n, **how))


WILSON = Task(
    "wilson_interval", wilson_cases, wilson, seeds=1, answers=("t1mini.statistics.wilson_interval",),
    mistakes=(Mistake("that is the normal approximation, p +- z sqrt(p (1-p) / n): at 0 of 5 its width is 0",
                      wald),
              Mistake("that is the normal approximation, p +- z sqrt(p (1-p) / n): at 0 of 5 its width is 0",
                      lambda c, n: clipped(wald(c, n))),
              Mistake("that is the Agresti-Coull interval: close, but the half width differs",
                      lambda c, n: wald(c + Z * Z / 2, n + Z * Z)),
              Mistake("that is the Agresti-Coull interval: close, but the half width differs",
                      lambda c, n: clipped(wald(c + Z * Z / 2, n + Z * Z))),
              Mistake("that is the Agresti-Coull interval: close, but the half width differs",
                      lambda c, n: clipped(wald(c + 2, n + 4))),
              Mistake("at 0 right or all right the interval still has a width",
                      lambda c, n: (c / n, c / n) if c in (0, n) else wilson(c, n)),
              Mistake("only the centre is divided by 1 + z^2 / n; the half width is, too",
                      lambda c, n: _halves(c, n, 1, 0)),
              Mistake("only the half width is divided by 1 + z^2 / n; the centre is, too",
                      lambda c, n: _halves(c, n, 0, 1)),
              Mistake("n is divided by, not n - 1: this is no standard deviation",
                      lambda c, n: closed(c * (n - 1) / n, n - 1)),
              _wilson("n is divided by, not n - 1: this is no standard deviation",
                      inner=lambda p, n, z2: p * (1 - p) / max(n - 1, 1) + z2 / (4 * n * n)),
              Mistake("z^2 / 4n^2 stands under the root, too; yours adds it outside",
                      _outside),
              _wilson("z is 1.96 for 95%; yours is 1.645, for 90%", z=1.644854),
              _wilson("z is 1.96 for 95%; yours is 2.576, for 99%", z=2.575829),
              _wilson("z is 1.96 for 95%; yours is 2", z=2.0),
              _wilson("z is 1.96 for 95%; yours is 1", z=1.0),
              _wilson("both ends are to be divided by 1 + z^2 / n", scale=lambda n, z2: 1.0),
              _wilson("the centre is p + z^2 / 2n; yours is p", centre=lambda p, n, z2: p),
              _wilson("the centre is p + z^2 / 2n; yours is p + z^2 / n", centre=lambda p, n, z2: p + z2 / n),
              _wilson("the centre is p + z^2 / 2n; in yours z is not squared",
                      centre=lambda p, n, z2: p + math.sqrt(z2) / (2 * n)),
              _wilson("under the root: p (1-p) / n + z^2 / 4n^2; yours lacks the second term",
                      inner=lambda p, n, z2: p * (1 - p) / n),
              _wilson("under the root: p (1-p) / n + z^2 / 4n^2; yours has z^2 / 4n",
                      inner=lambda p, n, z2: p * (1 - p) / n + z2 / (4 * n)),
              _wilson("under the root z^2 is divided by 4 n^2: mind the brackets, z**2 / 4 * n**2 multiplies "
                      "by n^2",
                      inner=lambda p, n, z2: p * (1 - p) / n + z2 / 4 * n * n),
              _wilson("under the root z^2 is divided by 4 n^2: mind the brackets, z**2 / (4 * n)**2 has 16 "
                      "n^2",
                      inner=lambda p, n, z2: p * (1 - p) / n + z2 / (4 * n) ** 2),
              _wilson("under the root: p (1-p) / n + z^2 / 4n^2; yours has z^2 / 2n^2",
                      inner=lambda p, n, z2: p * (1 - p) / n + z2 / (2 * n * n)),
              _wilson("under the root: p (1-p) / n + z^2 / 4n^2; in yours p (1-p) is not divided by n",
                      inner=lambda p, n, z2: p * (1 - p) + z2 / (4 * n * n)),
              _wilson("the centre is p + z^2 / (2 n): mind the brackets, z**2 / 2 * n multiplies by n",
                      centre=lambda p, n, z2: p + z2 / 2 * n),
              Mistake("the share is c / n: // leaves 0 or 1",
                      lambda c, n: closed(c // n * n, n)),
              _wilson("the square root is missing", root=lambda x: x),
              _wilson("the half width is half of what it should be", times=0.5),
              _wilson("the half width is twice what it should be", times=2.0),
              _wilson("the half width lacks the factor z", times=1 / Z),
              Mistake("1 + z / n in place of 1 + z^2 / n",
                      lambda c, n: closed(c, n, scale=lambda n, z2: 1 + math.sqrt(z2) / n)),
              Mistake("it returns centre and half width; the two ends are asked for",
                      lambda c, n: ((sum(wilson(c, n))) / 2, (wilson(c, n)[1] - wilson(c, n)[0]) / 2)),
              Mistake("the ends are in percent; they should be shares",
                      lambda c, n: tuple(100 * x for x in wilson(c, n))))
)


# --- paired_bootstrap: ends of an interval, compared with those of a very long bootstrap ----------


def bootstrap(a, b, generator, resamples=2000, *, draws=12_000, percentiles=(2.5, 97.5), paired=True,
              problems=True, size=lambda n: n, of=lambda d: d.mean(-1), sign=1, replace=True):
    rng = np.random.default_rng(12345)
    a, b = (np.asarray(x, dtype=float) for x in (a, b))
    if problems:
        a, b = (x.reshape(len(x), -1).mean(1) for x in (a, b))
    else:
        a, b = a.reshape(-1), b.reshape(-1)
    n = len(a)
    pick = ((lambda: rng.integers(n, size=(draws, size(n)))) if replace
            else (lambda: np.argsort(rng.random((draws, n)))[:, : size(n)]))
    i = pick()
    j = i if paired else pick()
    return tuple(float(x) for x in np.percentile(sign * (of(a[i]) - of(b[j])), percentiles))


def nearly(expected, got) -> str | None:
    """Ends within 6.5% of the interval's width: one of 2,000 resamples scatters by 1.5% of it."""
    if found := differs((0.0, 0.0), got):
        if not found.startswith("values"):
            return found
    ends = [float(x) for x in (got.tolist() if hasattr(got, "tolist") else got)]
    width = max(expected[1] - expected[0], 1e-9)
    return None if all(abs(x - y) <= 0.065 * width for x, y in zip(expected, ends)) else "values"


def ends(expected, got) -> str | None:
    """How the interval differs, in words."""
    (a, b), (c, d) = expected, [float(x) for x in got]
    ratio, shift = (d - c) / max(b - a, 1e-9), ((c + d) - (a + b)) / 2 / max(b - a, 1e-9)
    if 0 <= ratio < 0.5 and shift < -0.2:
        return "np.percentile takes 2.5 and 97.5; 0.025 and 0.975 are for np.quantile"
    if ratio > 3:
        return ("the interval is that of single differences: draw as many problems as there are, take "
                "their mean, and the percentiles of many such means")
    if abs(ratio - 1) > 0.1:
        return f"the interval is {ratio:.2g} times as wide as it should be"
    return f"the interval is shifted by {shift:+.2g} of its width"


def bootstrap_cases(seed: int) -> list[Case]:
    rng = np.random.default_rng(seed + 50)
    # problems differ a lot, which both policies share
    hard, better = rng.random(60), rng.normal(0.1, 0.2, 60)
    a, b = ((rng.random((60, 12)) < np.clip(hard + d, 0, 1)[:, None]) + 0.01 * rng.random((60, 12))
            for d in (better, 0.0))
    made = lambda s: Make("numpy.Generator", (s,))
    return [Case("60 problems, 12 samples each", (a, b, made(seed))),
            Case("the same generator again", (a, b, made(seed))),
            Case("another seed", (a, b, made(seed + 7))),
            Case("the other way round", (b, a, made(seed))),
            Case("one score a problem", (a.mean(1), b.mean(1), made(seed))),
            Case("the first 20 problems", (a[:20], b[:20], made(seed))),
            Case("12 problems, of which one makes the difference",
                 (0.02 * rng.normal(size=12) + np.eye(12)[seed], np.zeros(12), made(seed)))]


def same_again(cases, outcomes) -> str | None:
    for i in range(0, len(outcomes), 7):
        first, again, other = (outcomes[i + j]["value"] for j in range(3))
        if differs(tuple(first), tuple(again)):
            return ("the same generator should give the same interval: draw with `generator`, not with a "
                    "global one")
        if not differs(tuple(first), tuple(other)):
            return "another generator should give another interval, if only slightly: draw with `generator`"
    return None


def few_resamples(cases, outcomes) -> str | None:
    """Ends of an interval of 2,000 resamples move by 2% of its width from seed to seed."""
    if len(outcomes) < 3 or any(differs((0.0, 0.0), o["value"]) != "values" for o in outcomes[:3]):
        return None
    one, other = ([float(x) for x in o["value"]] for o in (outcomes[0], outcomes[2]))
    low, high = bootstrap(*cases[0].args[:2], None)
    moved = max(abs(x - y) for x, y in zip(one, other)) / (high - low)
    wide = 0.5 < (one[1] - one[0]) / (high - low) < 2
    return ("the ends move far from one generator to the next: 2,000 resamples are asked for; how many are "
            "yours?" if wide and moved > 0.12 else None)


def _bootstrap(says: str, **how) -> Mistake:
    return Mistake(says, lambda a, b, generator: bootstrap(a, b, generator, **how))


def _normal(a, b, generator):
    a, b = (np.asarray(x, dtype=float).reshape(len(x), -1).mean(1) for x in (a, b))
    d = a - b
    return d.mean() - d.std(ddof=1), d.mean() + d.std(ddof=1)


BOOTSTRAP = Task(
    "paired_bootstrap", bootstrap_cases, bootstrap, seeds=2, agrees=nearly, across=same_again, describes=ends,
    last=few_resamples,
    answers=("t1mini.statistics.paired_bootstrap", "t1mini.statistics.crossed_bootstrap",
             "t1mini.statistics.clustered_interval"),
    mistakes=(_bootstrap("not paired: both policies are to be resampled with the same problems; apart, the "
                         "interval is too wide",
                         paired=False),
              _bootstrap("samples are resampled in place of problems: those of a problem are not "
                         "independent, so the interval is too narrow",
                         problems=False),
              _bootstrap("neither paired nor by problem: draw problems, the same for both", paired=False,
                         problems=False),
              _bootstrap("sign: it is a - b, yours is b - a", sign=-1),
              _bootstrap("the percentiles are 2.5 and 97.5; yours are 5 and 95", percentiles=(5, 95)),
              _bootstrap("the percentiles are 2.5 and 97.5; yours are 25 and 75", percentiles=(25, 75)),
              _bootstrap("np.percentile takes 2.5 and 97.5; 0.025 and 0.975 are for np.quantile",
                         percentiles=(0.025, 0.975)),
              _bootstrap("the smallest and the largest are no 95% interval", percentiles=(0, 100)),
              _bootstrap("the ends are in the wrong order", percentiles=(97.5, 2.5)),
              _bootstrap("problems are drawn without replacement: every resample is the same", replace=False),
              _bootstrap("half as many problems are drawn as there are, so the interval is too wide",
                         size=lambda n: n // 2),
              _bootstrap("one problem is drawn at a time: a resample has as many as there are",
                         size=lambda n: 1),
              _bootstrap("twice as many problems are drawn as there are, so the interval is too narrow",
                         size=lambda n: 2 * n),
              Mistake("a resample has as many problems as there are; yours has as many as there are scores",
                      lambda a, b, g: bootstrap(a, b, g, size=lambda n: np.size(a))),
              _bootstrap("a resample has as many problems as there are; yours has as many as there are "
                         "resamples",
                         size=lambda n: 2000, draws=1000),
              Mistake("a problem's samples are averaged (axis 1); yours averages over problems, and draws "
                      "samples",
                      lambda a, b, g: bootstrap(*(np.asarray(x, float).mean(0) if np.ndim(x) > 1 else x
                                                  for x in (a, b)), g)),
              _bootstrap("the percentiles are 2.5 and 97.5; yours are 0.5 and 99.5", percentiles=(0.5, 99.5)),
              _bootstrap("the median difference; the mean is asked for", of=lambda d: np.median(d, -1)),
              _bootstrap("sums in place of means", of=lambda d: d.sum(-1)),
              Mistake("the median difference; the mean is asked for",
                      lambda a, b, g: bootstrap(_means(a) - _means(b), np.zeros(len(a)), g,
                                                of=lambda d: np.median(d, -1))),
              Mistake("the last problem is never drawn: integers(n) ends before n already",
                      lambda a, b, g: bootstrap(_means(a)[:-1], _means(b)[:-1], g,
                                                size=lambda n: n + 1)),
              Mistake("only problems are drawn; yours draws samples within them as well, and the interval is "
                      "too wide",
                      lambda a, b, g: _twofold(a, b)),
              Mistake("all samples of a problem count: its mean; yours takes the first",
                      lambda a, b, g: bootstrap(*(np.asarray(x, float).reshape(len(x), -1)[:, 0]
                                                  for x in (a, b)), g)),
              Mistake("the interval is centred on 0: it should be on the difference",
                      lambda a, b, g: tuple(x - (_means(a) - _means(b)).mean() for x in bootstrap(a, b, g))),
              Mistake("that is the interval of a alone: the difference to b is asked for",
                      lambda a, b, g: bootstrap(a, np.zeros_like(b), g)),
              Mistake("that is the interval of b alone: the difference a - b is asked for",
                      lambda a, b, g: bootstrap(b, np.zeros_like(a), g)),
              Mistake("the percentiles of the resampled differences are asked for; yours are their mean plus "
                      "or minus 1.96 standard deviations",
                      lambda a, b, g: _of_resamples(a, b, lambda d: (d.mean() - 1.96 * d.std(),
                                                                     d.mean() + 1.96 * d.std()))),
              Mistake("the percentiles themselves are asked for; yours are mirrored at the difference "
                      "(2 * mean - percentile)",
                      lambda a, b, g: _of_resamples(a, b, lambda d: tuple(
                          2 * (_means(a) - _means(b)).mean() - np.percentile(d, (97.5, 2.5))))),
              Mistake("mean plus or minus one standard deviation of the differences; that is no interval of "
                      "the mean",
                      _normal),
              Mistake("the absolute difference: the sign matters",
                      lambda a, b, g: bootstrap(np.abs(_means(a) - _means(b)), np.zeros(len(a)), g)))
)


def _of_resamples(a, b, interval):
    d = _means(a) - _means(b)
    return interval(d[np.random.default_rng(12345).integers(len(d), size=(12_000, len(d)))].mean(1))


def _twofold(a, b):
    rng, d = np.random.default_rng(12345), np.asarray(a, float) - np.asarray(b, float)
    d = d.reshape(len(d), -1)
    n, k = d.shape
    rows, columns = rng.integers(n, size=(4000, n, 1)), rng.integers(k, size=(4000, n, k))
    return tuple(float(x) for x in np.percentile(d[rows, columns].mean((1, 2)), (2.5, 97.5)))


def _means(x):
    return np.asarray(x, dtype=float).reshape(len(x), -1).mean(1)


# --- accuracy_at ----------------------------------------------------------------------------------


def accuracy_at(budget, lengths, finished, own, forced, *, keeps=lambda n, done, budget: done and n <= budget,
                right=lambda kept, own, forced: own if kept else forced):
    rows = zip(lengths.tolist(), finished.tolist(), own.tolist(), forced.tolist())
    return sum(bool(right(keeps(n, done, budget), a, b)) for n, done, a, b in rows) / len(lengths)


def _mean_of_two(own, forced, kept):
    return float(np.mean([part.mean() for part in (own[kept], forced[~kept]) if len(part)]))


def accuracy_cases(seed: int) -> list[Case]:
    lengths = np.array([12, 40, 64, 64, 64, 20, 33, 8, 50])
    finished = np.array([1, 1, 1, 0, 0, 1, 1, 1, 1], dtype=bool)
    own = np.array([1, 1, 1, 0, 1, 0, 1, 1, 0], dtype=bool)
    forced = np.array([0, 0, 1, 1, 0, 1, 0, 1, 1], dtype=bool)
    if seed:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(1, 65, 41)
        finished, own, forced = (rng.random(41) < p for p in (0.8, 0.6, 0.3))
        lengths[~finished] = 64
    return [Case(f"a budget of {budget} tokens", (budget, lengths, finished, own, forced))
            for budget in (0, 8, 33, 50, 63, 64)]


def _accuracy(says: str, **how) -> Mistake:
    return Mistake(says, lambda *args: accuracy_at(*args, **how))


ACCURACY = Task(
    "accuracy_at", accuracy_cases, accuracy_at, seeds=3,
    mistakes=(
        _accuracy("a response of exactly `budget` tokens is within it: <=",
                  keeps=lambda n, done, budget: done and n < budget),
        _accuracy("a response that was cut off at its limit has no answer of its own: it is forced, too",
                  keeps=lambda n, done, budget: n <= budget),
        _accuracy("what had ended within the budget keeps its own answer; yours forces all (& binds before "
                  "<=: set brackets around a comparison)",
                  keeps=lambda n, done, budget: False),
        _accuracy("what is longer than the budget is forced to answer; yours keeps every own answer",
                  keeps=lambda n, done, budget: True),
        _accuracy("`budget` is not used: only what had not ended is forced",
                  keeps=lambda n, done, budget: done),
        _accuracy("the two answers are exchanged: own within the budget, forced beyond it",
                  right=lambda kept, own, forced: forced if kept else own),
        _accuracy("a response has to have ended, and within the budget; yours asks for one of the two",
                  keeps=lambda n, done, budget: done or n <= budget),
        _accuracy("& binds before <=: finished & lengths <= budget is (finished & lengths) <= budget; set "
                  "brackets",
                  keeps=lambda n, done, budget: (done & n) <= budget),
        _accuracy("the end token is counted in a length: it is within the budget where length <= budget",
                  keeps=lambda n, done, budget: done and n - 1 <= budget),
        Mistake("the mean is over all responses; yours is the mean of two means",
                lambda budget, lengths, finished, own, forced:
                    _mean_of_two(own, forced, finished & (lengths <= budget))),
        _accuracy("one answer counts, not the better of two",
                  right=lambda kept, own, forced: kept and own or forced),
        _accuracy("one answer counts, not the better of two",
                  right=lambda kept, own, forced: own if kept else own or forced),
        _accuracy("one answer counts, not both",
                  right=lambda kept, own, forced: own and forced if kept else forced),
        _accuracy("one answer counts, not the better of two", right=lambda kept, own, forced: own or forced),
        _accuracy("one answer counts, not both", right=lambda kept, own, forced: own and forced),
        _accuracy("what is cut has a forced answer; yours counts it as wrong",
                  right=lambda kept, own, forced: kept and own),
        _accuracy("what had ended within the budget counts, too; yours counts it as wrong",
                  right=lambda kept, own, forced: not kept and forced),
        _accuracy("that is the share of wrong answers",
                  right=lambda kept, own, forced: not (own if kept else forced)),
        _accuracy("that is the share of responses within the budget", right=lambda kept, own, forced: kept),
        Mistake("the number of right answers is to be divided by that of all responses",
                lambda *args: accuracy_at(*args) * len(args[1])),
        Mistake("the mean is over all responses, cut or not; yours is over those within the budget",
                lambda budget, lengths, finished, own, forced:
                    own[within := finished & (lengths <= budget)].sum() / max(1, within.sum()))
    )
)

TASKS = (TRUNCATE, WILSON, BOOTSTRAP, ACCURACY, *map(BugTask, BUGS))
