"""Estimates equal enumeration, and intervals are what they are called: 95%, over problems, pairwise where two are compared."""

import math
from itertools import combinations

import numpy as np
import pytest

from t1mini.statistics import Z95, clustered_interval, majority_at_k, paired_bootstrap, pass_at_k, t_interval, wilson_interval


# --- pass@k and majority@k ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 4, 7])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(n):
    for c in range(n + 1):
        right = [i < c for i in range(n)]
        for k in range(1, n + 1):
            subsets = list(combinations(right, k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-15)


@pytest.mark.parametrize("n, c, k", [(4, 5, 2), (4, -1, 2), (4, 1, 0), (4, 1, 5), (0, 0, 1)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


@pytest.mark.parametrize("answers, winner", [
    (["7", "5", "5"], "5"),
    (["7", "5"], "7"),  # the earlier one wins the tie
    (["5", "7", "7", "5"], "5"),
    ([None, None, "3"], "3"),  # None is no vote
    ([None, None], None),
])
def test_majority_is_the_commonest(answers, winner):
    assert majority_at_k(answers, len(answers)) == majority_at_k([*answers, "9", "9", "9"], len(answers)) == winner
    for k in (0, len(answers) + 1):
        with pytest.raises(ValueError):
            majority_at_k(answers, k)


# --- intervals ------------------------------------------------------------------------------------------------------

def test_the_normal_quantile_leaves_2_5_percent_above_it():
    x = np.linspace(Z95, 12, 200_001)
    assert np.trapezoid(np.exp(-x * x / 2), x) / np.sqrt(2 * np.pi) == pytest.approx(0.025, abs=1e-7)


@pytest.mark.parametrize("c, n", [(0, 9), (1, 9), (5, 9), (9, 9), (730, 1000)])
def test_wilson_solves_its_quadratic(c, n):
    # p is inside where (c/n - p)^2 <= z^2 p (1 - p) / n
    low, high = sorted(np.roots([1 + Z95**2 / n, -2 * c / n - Z95**2 / n, (c / n) ** 2]).real)
    assert wilson_interval(c, n) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("c, n", [(-1, 9), (10, 9), (0, 0)])
def test_wilson_refuses_impossible_counts(c, n):
    with pytest.raises(ValueError):
        wilson_interval(c, n)


def test_clustered_is_the_normal_interval_of_the_problems_means():
    scores = np.random.default_rng(0).random((7, 4))
    means = [sum(row) / 4 for row in scores.tolist()]
    centre = sum(means) / 7
    half = Z95 * (sum((m - centre) ** 2 for m in means) / 6 / 7) ** 0.5
    assert clustered_interval(scores) == pytest.approx((centre - half, centre + half), abs=1e-14)


def test_copies_of_the_same_samples_do_not_narrow_the_interval():
    scores = np.random.default_rng(0).integers(0, 2, (7, 4))
    assert clustered_interval(np.tile(scores, 5)) == pytest.approx(clustered_interval(scores), abs=1e-14)


def test_clustered_covers_the_truth_95_percent_of_the_time_where_pooling_does_not():
    rng, runs, problems, samples = np.random.default_rng(0), 1000, 60, 8
    clustered = pooled = 0
    for _ in range(runs):
        rates = rng.beta(0.8, 1.2, problems)  # a problem is easy or hard for all of its samples; the mean rate is 0.4
        scores = rng.random((problems, samples)) < rates[:, None]
        low, high = clustered_interval(scores)
        clustered += low <= 0.4 <= high
        low, high = wilson_interval(int(scores.sum()), scores.size)
        pooled += low <= 0.4 <= high
    assert abs(clustered / runs - 0.95) < 0.03 and pooled / runs < 0.8


@pytest.mark.parametrize("problems, samples", [(40, 1), (40, 4), (2, 3)])
@pytest.mark.parametrize("score", [0, 1])
def test_never_right_and_always_right_have_wilsons_interval_a_trial_a_problem(score, problems, samples):
    low, high = clustered_interval(np.full((problems, samples), score))
    assert (low, high) == pytest.approx(wilson_interval(score * problems, problems)) and high - low > 0.08


def test_problems_that_are_all_alike_have_an_interval_too():
    scores = np.tile([1.0, 0.0, 0.0], (30, 1))
    assert clustered_interval(scores) == pytest.approx(wilson_interval(10, 30))


def test_an_interval_of_shares_stays_among_shares():
    scores = np.zeros((40, 1))
    scores[0] = 1
    assert clustered_interval(scores)[0] == 0 and clustered_interval(1 - scores)[1] == 1


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_clustered_refuses_a_single_problem(score):
    with pytest.raises(ValueError):
        clustered_interval([[1.0, score, 1.0]])


# --- two policies ---------------------------------------------------------------------------------------------------

def paired_scores(gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two policies on 80 problems, 3 and 5 samples each; b is right `gain` more often."""
    rng = np.random.default_rng(0)
    rates = rng.random(80)
    a, b = rng.random((80, 3)) < rates[:, None], rng.random((80, 5)) < (rates + gain)[:, None]
    return a.astype(float), b.astype(float)


def test_the_bootstrap_excludes_0_for_a_clear_difference_with_the_sign_of_a_minus_b():
    a, b = paired_scores(gain=0.4)
    assert paired_bootstrap(a, b, seed=0)[1] < 0 < paired_bootstrap(b, a, seed=0)[0]


def test_the_bootstrap_contains_0_where_there_is_no_difference():
    low, high = paired_bootstrap(*paired_scores(gain=0.0), seed=0)
    assert low < 0 < high


def test_the_bootstrap_is_centred_on_the_difference_and_as_wide_as_problems_differ():
    a, b = paired_scores(gain=0.2)
    low, high = paired_bootstrap(a, b, seed=0)
    differences = a.mean(1) - b.mean(1)
    half = Z95 * differences.std() / 80**0.5
    assert (low + high) / 2 == pytest.approx(differences.mean(), abs=0.1 * half)
    assert high - low == pytest.approx(2 * half, rel=0.1)


def test_the_bootstrap_pairs_problems():
    a = np.arange(10.0)  # problems differ widely, the policies by 0.1 on each
    assert paired_bootstrap(a + 0.1, a, seed=0) == pytest.approx((0.1, 0.1))


def test_the_bootstrap_repeats_with_its_seed_and_takes_a_generator():
    a, b = paired_scores(gain=0.2)
    assert paired_bootstrap(a, b, seed=3) == paired_bootstrap(a, b, seed=np.random.default_rng(3)) != paired_bootstrap(a, b, seed=4)


def test_a_few_values_have_students_interval_and_more_never_a_narrower_one():
    for n, t in ((2, 12.706), (10, 2.262), (11, 2.228), (30, 2.045)):
        values = [0.0, 1.0] * (n // 2) + [0.5] * (n % 2)
        low, high = t_interval(values)
        assert (high - low) / 2 >= t * np.std(values, ddof=1) / math.sqrt(n) - 1e-9 and (low + high) / 2 == pytest.approx(0.5)
        assert n > 10 or (high - low) / 2 == pytest.approx(t * np.std(values, ddof=1) / math.sqrt(n))


@pytest.mark.parametrize("a, b", [([1.0, 0.0], [1.0]), ([], [])], ids=str)
def test_the_bootstrap_refuses_scores_that_are_not_pairs(a, b):
    with pytest.raises(ValueError):
        paired_bootstrap(a, b, seed=0)
