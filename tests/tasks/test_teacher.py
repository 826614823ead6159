"""A faultless teacher is always right, and each of the teacher's imperfections shows when it alone is turned up."""

import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from t1mini.tasks.chains import Chain, Problem, all_chains, compute
from t1mini.tasks.countdown import attempts, hits, is_correct, is_grammatical, make_splits
from t1mini.tasks.teacher import Teacher, critique, teach

PROBLEM = Problem((3, 4, 11), 77)
HIT, MISS = Chain((3, 4, 11), "+*", (7, 77)), Chain((3, 11, 4), "+*", (14, 56))
FAULTLESS = Teacher(give_up=0.0, repeat=0.0, slip=0.0, misjudge=0.0, most_attempts=1000)
JUDGED = re.compile(r"(\d+) (.) (\d+) = (\d+) (.) (\d+) = (\d+) (?:(low|high)|check [^a-z]* (ok|low|high))")
PROBLEMS = random.Random(0).sample(make_splits()["train"], 60)


def traces(problems=PROBLEMS, **faults) -> list[tuple[Problem, str]]:
    rng = random.Random(1)
    return [(problem, teach(problem, replace(FAULTLESS, **faults), rng)) for problem in problems]


def judged(trace: str) -> list[tuple[int, int, str, bool]]:
    """(true value, value as written, verdict, whether it was checked) of each attempt."""
    found = []
    for a, op1, b, first, op2, c, seen, verdict, checked in JUDGED.findall(trace):
        assert compute(int(a), op1, int(b)) == int(first)
        found.append((compute(int(first), op2, int(c)), int(seen), verdict or checked, bool(checked)))
    return found


def side(value: int, target: int) -> str:
    return "ok" if value == target else "low" if value < target else "high"


def test_a_trace_of_four_numbers_goes_one_step_further():
    trace = teach(Problem((2, 3, 4, 11), 79), replace(FAULTLESS, spread=1e-3), random.Random(0))
    keys = attempts(trace)[-1]
    assert len(keys) == 7 and is_grammatical(trace) and is_correct(Problem((2, 3, 4, 11), 79), trace)
    assert trace.endswith(f"= 79 ok answer {' '.join(keys)}")


def test_a_faultless_teacher_is_always_right_and_never_repeats_itself():
    for problem, trace in traces():
        tried = attempts(trace)
        assert is_correct(problem, trace) and is_grammatical(trace) and len(set(tried)) == len(tried)
        assert hits(problem, tried) == 1
        for value, seen, verdict, checked in judged(trace):
            assert seen == value and verdict == side(value, problem.target) and checked == (value == problem.target)


def test_a_small_spread_tries_near_chains_first():
    distance = lambda spread: sum(abs(judged(trace)[0][0] - p.target) for p, trace in traces(PROBLEMS * 5, spread=spread))
    assert distance(10.0) < 0.7 * distance(1e6)
    for problem, trace in traces(spread=1e-3, slip=1.0):  # every hit slips, so that all chains are tried
        distances = [abs(value - problem.target) for value, *_ in judged(trace)]
        assert distances == sorted(distances) and len(distances) == len(all_chains(problem.numbers))


def test_a_teacher_that_repeats_tries_the_same_chain_again_and_the_same_rng_repeats_all():
    repeated = [max(Counter(attempts(trace)).values()) for _, trace in traces(repeat=0.5)]
    assert sum(count > 1 for count in repeated) > len(PROBLEMS) / 2
    first, again, other = ([teach(p, Teacher(), random.Random(seed)) for p in PROBLEMS] for seed in (3, 3, 4))
    assert first == again != other and all(map(is_grammatical, first + other))


def test_a_teacher_that_slips_writes_wrong_last_values_and_a_check_finds_each_out():
    checks = 0
    for problem, trace in traces(slip=1.0):
        for value, seen, verdict, checked in judged(trace):
            assert seen != value and 0 <= seen <= 99 and checked == (seen == problem.target)
            assert verdict == side(value if checked else seen, problem.target) != "ok"
            checks += checked
        assert trace.endswith("stop answer none")
    assert checks > 0


def test_a_teacher_that_misjudges_takes_low_for_high_but_not_a_hit_for_a_miss():
    for problem, trace in traces(misjudge=1.0):
        for value, _, verdict, _ in judged(trace):
            assert verdict == {"low": "high", "high": "low", "ok": "ok"}[side(value, problem.target)]
        assert is_correct(problem, trace)


def test_a_teacher_that_gives_up_stops_after_its_first_miss_and_every_one_at_its_most_attempts():
    for most, faults in {1: {"give_up": 1.0}, 3: {"most_attempts": 3}}.items():
        given_up = [(p, t) for p, t in traces(**faults) if t.endswith("stop answer none")]
        assert given_up and not any(is_correct(p, t) for p, t in given_up)
        assert {len(attempts(t)) for _, t in given_up} == {most}


@pytest.mark.parametrize("chain, seen, misjudged, expected", [
    (MISS, 56, False, "low"), (MISS, 56, True, "high"), (MISS, 78, False, "high"),  # judged as it was seen
    *((HIT, 77, misjudged, "check 3 + 4 = 7 , 7 * 11 = 77 ok") for misjudged in (False, True)),
    (HIT, 76, False, "low"),  # a slip that hides a hit is never found out
    (MISS, 77, False, "check 3 + 11 = 14 , 14 * 4 = 56 low"),  # one that makes a hit is
    (MISS, 77, True, "check 3 + 11 = 14 , 14 * 4 = 56 ok"),  # unless its check is misjudged too
])
def test_a_critique_judges_what_was_seen_and_checks_a_hit(chain, seen, misjudged, expected):
    assert critique(chain, seen, PROBLEM.target, misjudged) == expected
