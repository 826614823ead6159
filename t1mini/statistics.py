"""Statistics: what a measured accuracy is worth.

A policy is evaluated with n samples on each of many problems. The samples of one problem are not independent
evidence: a problem is easy or hard for all of them. So intervals here resample or average over PROBLEMS, and
two policies are compared on the same problems, pairwise.

    pass@1       mean of correct over all samples
    pass@k       chance that one of k samples is right: 1 - C(n - c, k) / C(n, k), averaged over problems
    majority@k   the answer given most often among k samples; what gives none, or gives up, has no vote

Intervals are 95%. See them against enumeration: python -m pytest tests/test_statistics.py
"""

import math
from collections import Counter
from typing import Hashable, Sequence

import numpy as np

Z95 = 1.959964  # 97.5% point of the normal distribution
# 97.5% points of Student's t, by degrees of freedom, of which 0 are too few
T95 = 0.0, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that k of n samples, drawn without replacement, include one of the c right ones.

    ValueError unless 0 <= c <= n and 1 <= k <= n. Unbiased for the true pass@k (Chen et al. 2021).

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"need 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority_at_k(answers: Sequence[Hashable], k: int) -> Hashable | None:
    """The commonest of the first k answers, of a tie the earlier. None is no vote, or that there was none.

    >>> majority_at_k(["7", "5", None, "5"], k=4), majority_at_k(["7", "5"], k=2)
    ('5', '7')
    """
    if not 1 <= k <= len(answers):
        raise ValueError(f"need 1 <= k <= {len(answers)} answers, got k={k}")
    votes = Counter(answer for answer in answers[:k] if answer is not None)
    return max(votes, key=votes.get) if votes else None


def wilson_interval(c: int, n: int) -> tuple[float, float]:
    """95% interval of a proportion c / n of independent trials: one sample a problem only (Wilson 1927).

    >>> tuple(round(x, 3) for x in wilson_interval(8, 10))
    (0.49, 0.943)
    """
    if not 0 <= c <= n or n < 1:
        raise ValueError(f"need 0 <= c <= n and n >= 1, got c={c}, n={n}")
    p, z2 = c / n, Z95**2
    centre, half = p + z2 / (2 * n), Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if c == 0 else low, 1.0 if c == n else high)


def clustered_interval(scores) -> tuple[float, float]:
    """95% interval of the mean of scores [problems, samples], 0 to 1, from the spread of the problems' means.

    ValueError for fewer than 2 problems. Valid however the samples of a problem depend on one another. Where
    all problems are alike (none is ever right) no spread shows: it is Wilson's, as if each were one trial.

    >>> tuple(round(x, 3) for x in clustered_interval([[0, 0]] * 40))
    (0.0, 0.088)
    """
    means = np.asarray(scores, dtype=float).mean(axis=-1)
    low, high = np.clip(_around_mean(means, Z95), 0, 1).tolist()
    return (low, high) if np.ptp(means) else wilson_interval(means.sum().item(), len(means))


def paired_bootstrap(a, b, seed: int | np.random.Generator) -> tuple[float, float]:
    """95% interval of mean(a) - mean(b), two policies' scores on the same problems, resampling problems.

    a and b [problems] or [problems, samples]. It excludes 0 where the difference is significant at 5%.
    """
    a, b = (np.asarray(x, dtype=float).reshape(len(x), -1).mean(axis=1) for x in (a, b))
    if len(a) != len(b):
        raise ValueError(f"paired scores need the same problems, got {len(a)} and {len(b)}")
    return crossed_bootstrap([a - b], seed)


def crossed_bootstrap(scores, seed: int | np.random.Generator) -> tuple[float, float]:
    """95% interval of the mean of scores [seeds, problems], resampling both: either could have been others.

    With one seed it is an interval over problems alone.
    """
    scores, rng = np.asarray(scores, dtype=float), np.random.default_rng(seed)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"need scores of seeds and problems, got shape {scores.shape}")
    runs, problems = scores.shape
    draw = lambda n: rng.integers(n, size=n)
    means = [scores[draw(runs)][:, draw(problems)].mean() for _ in range(2000)]
    return tuple(np.percentile(means, [2.5, 97.5]).tolist())


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of the mean of a few independent values, by Student's t. ValueError for fewer than 2.

    For more than 10 values it is that of 10, a little wider than need be.

    >>> tuple(round(x, 2) for x in t_interval([1.0, 2.0, 3.0]))
    (-0.48, 4.48)
    """
    return _around_mean(np.asarray(values, dtype=float), T95[min(len(values), 10) - 1])


def _around_mean(values: np.ndarray, quantile: float) -> tuple[float, float]:
    """So many standard errors on either side."""
    if len(values) < 2:
        raise ValueError("an interval needs at least 2 values: problems, or runs")
    half = quantile * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
