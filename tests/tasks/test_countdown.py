"""Countdown's problems, chains and verdicts equal an independent brute force in exact fractions, and the committed problems
are the ones the code makes, no three numbers in two splits."""

import math
import random
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, product
from pathlib import Path

import pytest

from t1mini import tasks
from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer
from t1mini.tasks.chains import OPERATORS, Problem, all_chains, blind_success, solutions
from t1mini.tasks.countdown import (SPLITS, attempts, final_answer, hits, is_correct, is_grammatical, load_problems, make_problem,
                                    make_splits, make_tokenizer, prompt_text, require_tokenizer, save_problems)
from t1mini.tasks.teacher import Teacher, teach

SPLIT, SPLIT4 = make_splits(), make_splits(4, largest=7)
DATA = Path(__file__).parents[2] / "data"
PROBLEM = Problem((3, 4, 11), 77)
TRIPLES = list(combinations_with_replacement(range(1, 16), 3))
FOURS = random.Random(0).sample(list(combinations_with_replacement(range(1, 16), 4)), 20)


def exact(a, op: str, b) -> Fraction | None:
    """a op b in fractions, or None where the rules of the task forbid it."""
    if a is None or (op == "/" and b == 0):
        return None
    value = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: Fraction(a) / b}[op]()
    return value if value in range(100) else None  # a fraction is in no range


@lru_cache(maxsize=None)
def brute_force(numbers) -> dict[tuple, Fraction]:
    """Every (a, op, b, op, c, ...) that stays within the rules, with its value."""
    values = {(numbers[0],): Fraction(numbers[0])} if len(numbers) == 1 else {
        (*keys, op, last): exact(value, op, last) for i, last in enumerate(numbers)
        for keys, value in brute_force(numbers[:i] + numbers[i + 1:]).items() for op in "+-*/"}
    return {chain: value for chain, value in values.items() if value is not None}


def problems_of(numbers) -> list[Problem]:
    targets = {int(value) for value in brute_force(numbers).values()} - {0, *numbers}
    return [Problem(numbers, target) for target in sorted(targets)]


def test_chains_are_those_of_brute_force_with_commuting_pairs_once():
    for numbers in TRIPLES + FOURS:
        expected = {chain: v for chain, v in brute_force(numbers).items() if chain[1] in "-/" or chain[0] <= chain[2]}
        found = all_chains(numbers)
        keys = [tuple(int(key) if key.isdigit() else key for key in str(chain).split()) for chain in found]
        assert dict(zip(keys, (chain.value for chain in found))) == expected and len(found) == len(expected)
        assert all(exact(before, op, number) == after for chain in found for before, op, number, after in chain.steps)


@pytest.mark.parametrize("problem", [PROBLEM, Problem((1, 1, 2), 4), Problem((1, 1, 1), 50)], ids=prompt_text)
def test_blind_success_is_the_share_of_draws_with_a_solution(problem):
    chains = all_chains(problem.numbers)
    for tries in (1, 3):
        draws = [any(chain.value == problem.target for chain in draw) for draw in combinations(chains, tries)]
        assert blind_success(problem, tries) == pytest.approx(sum(draws) / len(draws), abs=1e-14)
    assert blind_success(problem, len(chains) + 5) == bool(solutions(problem))  # every chain is tried


def test_splits_share_no_three_numbers_and_together_hold_every_problem():
    triples = [{problem.numbers for problem in SPLIT[name]} for name in SPLITS]
    assert all(a.isdisjoint(b) for a, b in combinations(triples, 2)) and list(map(len, triples)) == [544, 68, 68]
    assert sorted(sum(SPLIT.values(), [])) == sorted(p for numbers in TRIPLES for p in problems_of(numbers))


def test_four_numbers_keep_two_targets_of_every_set_that_is_held_out():
    sets = [{problem.numbers for problem in SPLIT4[name]} for name in SPLITS]
    assert all(a.isdisjoint(b) for a, b in combinations(sets, 2))
    assert SPLIT4["train"] == [p for numbers in sorted(sets[0]) for p in problems_of(numbers)]
    for name, numbers in zip(SPLITS[1:], sets[1:]):
        assert len(numbers) == 21 and len(set(SPLIT4[name])) == 42  # of 210 sets
        assert all(problem in problems_of(problem.numbers) for problem in SPLIT4[name])


@pytest.mark.parametrize("name", SPLITS)
def test_the_committed_problems_are_the_ones_the_code_makes(name, tmp_path):
    assert load_problems(DATA / f"{name}.jsonl") == SPLIT[name]
    save_problems(tmp_path / "again.jsonl", SPLIT[name])
    assert (tmp_path / "again.jsonl").read_bytes() == (DATA / f"{name}.jsonl").read_bytes()


@pytest.mark.parametrize("problem", [PROBLEM, Problem((2, 2, 6), 10), Problem((1, 8, 8), 2), Problem((1, 2, 3, 9), 12)], ids=prompt_text)
def test_an_answer_is_correct_exactly_if_it_makes_the_target(problem):
    right = {chain for chain, value in brute_force(problem.numbers).items() if value == problem.target}
    every = product(*[problem.numbers, OPERATORS] * (len(problem.numbers) - 1), problem.numbers)  # numbers used twice included
    accepted = {chain for chain in every if is_correct(problem, "answer " + " ".join(map(str, chain)))}
    assert accepted == right and right


@pytest.mark.parametrize("numbers, target, answer", [
    ((3, 4, 11), 77, "7 * 11"), ((3, 4, 11), 77, "3 + 4 * 11 + 0"), ((2, 3, 4, 11), 77, "3 + 4 * 11"),  # not the given numbers
    ((3, 4, 11), 9, "3 + 3 + 3"),  # one number thrice
    ((3, 4, 11), 47, "3 + 4 * 11"),  # left to right it is 77, by precedence it would be 47
    ((2, 4, 6), 3, "2 / 4 * 6"), ((9, 12, 12), 12, "9 * 12 / 9"), ((3, 5, 7), 5, "3 - 5 + 7"),  # inexact, above 99, below 0 on the way
    *(((3, 4, 11), 77, text) for text in (
        "3 + 4 * 11 = 77", "( 3 + 4 ) * 11", "3 + 4 * 11 3 + 4 * 11", "3+4*11", "3 + 4 * 11.0", "-3 + 4 * 11", "77", "none", "",
        "9" * 10_000 + " + 4 * 11", "3 ** 99 ** 99", "__import__('os')")),
], ids=lambda value: str(value)[:20])
def test_a_wrong_answer_is_not_correct(numbers, target, answer):
    assert not is_correct(Problem(numbers, target), f"answer {answer}")


@pytest.mark.parametrize("response, answer", [
    ("answer 3 + 4 * 11 \n", "3 + 4 * 11"), ("3 + 11 = 14 * 4 = 56 low answer 1 - 2 / 3", "1 - 2 / 3"),
    ("answer 1 + 2 + 3 answer 3 + 4 * 11", "3 + 4 * 11"),  # the last one counts
    *((text, None) for text in ("answer 3 + 4 * 11 answer", "answer 3 + 4 * 11 stop", "no\nanswer 3 + 4 * 11", "stop answer none",
                                "3 + 4 * 11", ""))])
def test_the_final_answer_stands_alone_behind_the_last_answer(response, answer):
    assert final_answer(response) == answer


def test_attempts_are_read_in_order_with_commuting_pairs_put_in_order_and_count_as_hits_whatever_is_said_of_them():
    response = ("11 - 3 = 8 * 4 = 32 low 11 * 3 = 33 + 4 = 37 low 11 + 4 = 15 - 3 = 12 low 4 + 3 = 7 * 11 = 76 low "
                "3 + 11 = 14 * 4 = 77 check 3 + 11 = 14 , 14 * 4 = 56 ok answer 3 + 11 * 4")
    found = attempts(response)
    assert [" ".join(attempt) for attempt in found] == ["11 - 3 * 4", "3 * 11 + 4", "4 + 11 - 3", "3 + 4 * 11", "3 + 11 * 4"]
    assert hits(PROBLEM, found) == 1


def test_numbers_of_any_length_are_read_without_harm():
    assert attempts("9" * 5000 + " + 4 = 7 * 11 = 77 low 3 + 4 = 7 * 11 = 777 high answer none") == []
    assert attempts("9" * 10**6) == []  # at once: a search begun at every digit would take hours
    assert final_answer("answer " * 10**5 + "9" * 10**5) is None


@pytest.mark.parametrize("corrupt", [
    lambda words, i: words[:i] + words[i + 1:], lambda words, i: words[: i + 1] + words[i:], lambda words, i: words[:i],
    lambda words, i: words[:i] + ["make"] + words[i + 1:], lambda words, i: words + words[: i + 1],
], ids=["one word less", "one word twice", "cut short", "one word of the prompt", "going on after the answer"])
def test_a_trace_with_one_fault_is_not_grammatical(corrupt):
    for problem in (PROBLEM, Problem((2, 3, 4, 11), 79)):
        words = teach(problem, Teacher(spread=1, give_up=0, repeat=0, slip=0, misjudge=0, most_attempts=99), random.Random(0)).split()
        assert not any(is_grammatical(" ".join(corrupt(words, i))) for i in range(len(words)))


@pytest.mark.parametrize("response, grammatical", [
    *((text, True) for text in ("answer none", "stop answer none", "1 + 1 = 7 * 5 = 3 high answer 3 + 4 * 11",  # its arithmetic may be wrong
                                "3 + 4 = 7 * 11 = 77 + 2 = 79 high answer 3 + 4 * 11 + 2")),
    ("3 + 4 = 7 * 11 = 77 ok answer 3 + 4 * 11", False),  # ok without a check
    *((text, False) for text in ("3 + 4 = 7 * 11 = 77 + 2 = 79 high 3 + 4 = 7 + 11 = 18 low answer none", "stop stop answer none",
                                 "3 + 4 = 7 * 11 = 77 + 2 = 79 high answer 3 + 4 * 11", "answer none stop", " answer none", "answer  none", ""))])
def test_the_grammar_is_attempts_with_verdicts_then_an_answer(response, grammatical):
    assert is_grammatical(response) is grammatical


@pytest.mark.parametrize("numbers, target", [
    ([3, 4], 77), ([3, 4, 11, 2, 5], 77), ([0, 4, 11], 77), ([3, 4, 100], 77), ([3, 4, 11], 0), ([3, 4, 11], 100), ([3, 4, 11], "77"),
    ([3, 4, 11.0], 77), ([3, 4, 11], None), ([True, 4, 11], 77), ("abc", 77), ([3, 4, math.nan], 77)], ids=str)
def test_a_problem_needs_three_or_four_numbers_and_a_target_within_1_to_99(numbers, target):
    assert make_problem([11, 3, 4], 77, "") == PROBLEM
    with pytest.raises(UserError, match="^here: need three or four"):
        make_problem(numbers, target, "here")


@pytest.mark.parametrize("content, message", [
    (None, "there are no problems at"), (b"", "there are no problems at"), (b"\xff\xfe", "line 1"),
    *((b'{"numbers": [3, 4, 11], "target": 77}\n' + line, "line 2") for line in (b"7", b"{", b'{"target": 77}', b'{"numbers": 3, "target": 77}'))])
def test_a_file_without_problems_or_with_a_bad_line_is_reported_by_name(content, message, tmp_path):
    path = tmp_path / "problems.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        tasks.load_problems("countdown", path, "train")
    assert str(path) in str(error.value)


def test_a_tokenizer_has_to_write_every_word():
    language_models = Tokenizer.from_dir(DATA.parent / "tests/golden/qwen2-tiny")
    for tokenizer in (make_tokenizer(), language_models):
        require_tokenizer(tokenizer, "here")
    with pytest.raises(UserError, match="here: its tokenizer cannot write Countdown's words"):
        require_tokenizer(Tokenizer.for_words(["make", "from", "7"]), "here")
