"""Evaluation counts what it says it counts, and the blind search it compares with is the one it describes."""

import random

import pytest

from t1mini.evaluate import EvaluateConfig, majority_is_correct, pick_problems, summarise, table
from t1mini.penalties import judge
from t1mini.tasks import countdown, maths
from t1mini.tasks.countdown import Problem, blind_search

HIT = "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"
MISS = "3 + 11 = 14 * 4 = 56 low stop answer none"
WRONG = "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 * 4 + 11"


def verdicts(*groups):
    problem, settings = Problem((3, 4, 11), 77), dict(finished=True, max_new_tokens=50, repeat_limit=2)
    judged = [[judge(countdown, problem, text, [0] * 20, **settings) for text in group] for group in groups]
    return [problem] * len(groups), judged


def test_every_share_has_its_own_denominator():
    results = summarise(countdown, *verdicts([HIT, MISS, MISS, MISS], [HIT, HIT, WRONG, MISS], [MISS, MISS, MISS, MISS]))
    assert (results["problems"], results["samples"]) == (3, 4)
    assert results["pass@1"] == pytest.approx(3 / 12)
    assert results["pass@4"] == pytest.approx(2 / 3)
    assert results["majority@4"] == pytest.approx(2 / 3)  # `none` is no vote
    assert results["attempts"] == 1.0 and results["hits_per_attempt"] == pytest.approx(4 / 12)
    assert results["interval"][0] < 0.25 < results["interval"][1]


def test_a_majority_may_be_wrong_and_one_sample_is_one():
    assert {"pass@1": 0.5, "majority@1": 0.5}.items() <= (alone := summarise(countdown, *verdicts([HIT], [MISS]))).items() and "interval" in alone
    assert summarise(countdown, *verdicts([WRONG, WRONG, HIT], [HIT, HIT, MISS]))["majority@3"] == 0.5


@pytest.mark.parametrize("text, right", [(MISS, "0.0%"), (HIT, "100.0%")])
def test_where_all_are_alike_the_table_still_has_an_interval(text, right):
    results = summarise(countdown, *verdicts(*[[text]] * 40))
    shown = next(line for line in table({"": results}).splitlines() if "95%" in line)
    assert shown.split("interval")[1].split() == (["0.0%", "-", "8.8%"] if text == MISS else ["91.2%", "-", "100.0%"])
    assert results["majority@1 interval"] == pytest.approx(results["interval"]) and f"{results['pass@1']:.1%}" == right


def test_to_give_up_is_no_vote_and_the_table_says_so():
    results = summarise(countdown, *verdicts([MISS, MISS, MISS, HIT], [MISS, "gibberish", MISS, WRONG]))
    assert results["majority@4"] == 0.5
    assert "50.0%\n  of the answers given: to give up is no vote\n" in table({"a": results}).partition("majority@4")[2]
    boxed = [judge(maths, maths.Problem("3 + 4?", "7"), text, [0] * 20, finished=True, max_new_tokens=50, repeat_limit=2)
             for text in ("I do not know.", "I give up.", r"So \boxed{7}.")]
    assert majority_is_correct(maths, boxed)


def simulate(problems, most, rng, rounds=4000):
    used = right = 0
    for _ in range(rounds):
        problem = rng.choice(problems)
        chains = list(countdown.all_chains(problem.numbers))
        rng.shuffle(chains)
        tried = next((i for i, chain in enumerate(chains[:most], 1) if chain.value == problem.target), None)
        used += tried or min(most, len(chains))
        right += tried is not None
    return used / rounds, right / rounds


@pytest.mark.parametrize("most", [1, 4, 9])
def test_the_blind_search_is_the_one_that_makes_as_many_attempts(most):
    problems = random.Random(0).sample(countdown.make_splits()["validation"], 60)
    used, right = simulate(problems, most, random.Random(1))
    assert blind_search(problems, used) == pytest.approx(right, abs=0.03)
    assert blind_search(problems, 500.0) == 1.0 and blind_search(problems, 0.0) == 0.0


def test_problems_are_drawn_by_seed():
    draw = lambda seed: pick_problems(EvaluateConfig(problems=9, seed=seed))
    assert len(set(draw(1))) == 9 and draw(1) == draw(1) != draw(2)


def test_the_table_has_a_column_for_each_policy():
    lines = table(dict.fromkeys(("before", "after"), summarise(countdown, *verdicts([HIT, MISS], [MISS, MISS])))).splitlines()
    assert lines[0].split() == ["before", "after"]
    assert any(line.split() == ["pass@1", "25.0%", "25.0%"] for line in lines)
