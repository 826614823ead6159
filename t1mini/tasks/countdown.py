"""The embedded task: reach a target from three numbers (or four) with + - * /, working from left to right.

    make 77 from 3 4 11 :       ->       answer 3 + 4 * 11              since (3 + 4) * 11 = 77

Each number is used once. Division must be exact, and every intermediate value stays within 0 ... 99, so a number is one
token and every problem can be enumerated: how hard each is, and whether it can be solved, is known exactly. A "chain" is
one such sequence of keys, a op b op c, as on a pocket calculator; when the first two numbers commute, a <= b is the one
that counts. There are some twenty valid chains a problem and fewer than two of them hit the target: finding one takes search.
With four numbers there are some 190 and 4: a harder task, of the same words.

Thinking is a list of attempts (t1mini.chain_of_thought writes them), each computed step by step and judged:

    3 + 11 = 14 * 4 = 56 low  3 * 11 = 33 + 4 = 37 low  3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok  answer 3 + 4 * 11

Train, validation and test share no set of numbers, so no test set was ever seen in training.

See the problems: python -m t1mini data
"""

import itertools
import json
import math
import os
import random
import re
from collections import Counter
from functools import lru_cache
from itertools import combinations_with_replacement, permutations, product
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence

from t1mini.runs.settings import UserError
from t1mini.runs.folder import write_text
from t1mini.runs.jsonl import read_rows
from t1mini.runs.tokenizer import Tokenizer

LARGEST_NUMBER = 15
LARGEST_VALUE = 99
OPERATORS = "+-*/"
WORDS = ["make", "from", ":", "=", ",", *OPERATORS, "low", "high", "check", "ok", "stop", "answer", "none"]
ANSWER = "answer"  # opens the final answer
FORCED_ANSWER, END_OF_THINKING = ANSWER + " ", ANSWER
SPLITS = ("train", "validation", "test")


class Problem(NamedTuple):
    numbers: tuple[int, ...]  # ascending; three or four
    target: int


class Chain(NamedTuple):
    """Keys in the order they are pressed, a number first, and the value after each operation.

    >>> str(Chain((3, 11, 4), "+*", (14, 56)))
    '3 + 11 * 4'
    """

    numbers: tuple[int, ...]
    ops: str
    values: tuple[int, ...]

    @property
    def value(self) -> int:
        return self.values[-1]

    @property
    def steps(self) -> list[tuple[int, str, int, int]]:
        """(value before, operation, number, value after) of each operation."""
        return list(zip((self.numbers[0], *self.values), self.ops, self.numbers[1:], self.values))

    def __str__(self) -> str:
        return " ".join(map(str, (self.numbers[0], *itertools.chain(*zip(self.ops, self.numbers[1:])))))


def compute(a: int, op: str, b: int) -> int | None:
    """a op b, or None where it is not an integer within 0 ... 99.

    >>> compute(12, "/", 4), compute(12, "/", 5), compute(3, "-", 5), compute(50, "*", 2)
    (3, None, None, None)
    """
    if op == "/":
        value = a // b if b and a % b == 0 else -1
    else:
        value = {"+": a + b, "-": a - b, "*": a * b}[op]
    return value if 0 <= value <= LARGEST_VALUE else None


def values_of(numbers: Sequence[int], ops: str) -> tuple[int, ...] | None:
    """The value after each operation, or None where one is not allowed.

    >>> values_of((3, 4, 11), "+*"), values_of((3, 4, 11), "-*")
    ((7, 77), None)
    """
    value, values = numbers[0], []
    for op, number in zip(ops, numbers[1:]):
        value = compute(value, op, number)
        if value is None:
            return None
        values.append(value)
    return tuple(values)


@lru_cache(maxsize=None)
def all_chains(numbers: tuple[int, ...]) -> tuple[Chain, ...]:
    """Every valid chain over the numbers, a commuting first pair counted once."""
    found = []
    for keys in sorted(set(permutations(numbers))):
        for ops in map("".join, product(OPERATORS, repeat=len(numbers) - 1)):
            if ops[0] in "+*" and keys[0] > keys[1]:
                continue
            values = values_of(keys, ops)
            if values is not None:
                found.append(Chain(keys, ops, values))
    return tuple(found)


def solutions(problem: Problem) -> list[Chain]:
    return [chain for chain in all_chains(problem.numbers) if chain.value == problem.target]


def blind_success(problem: Problem, attempts: int) -> float:
    """Chance that a search which draws valid chains at random, never twice the same, hits within `attempts`."""
    chains, hits = len(all_chains(problem.numbers)), len(solutions(problem))
    attempts = min(attempts, chains)
    return 1.0 - math.comb(chains - hits, attempts) / math.comb(chains, attempts)


# --- what a response says ------------------------------------------------------------------------------------------

_ON = " [-+*/] [0-9]+"  # from a number, or from a value, on to the next
_STEP = f"[0-9]+{_ON} = [0-9]+"
_ATTEMPT = re.compile(f"(?<![0-9]){_STEP}(?:{_ON} = [0-9]+)+")  # sought from each number's first digit, not from each digit
_ANSWER = re.compile(f"[0-9]+(?:{_ON}){{2,3}}")


def _response_of(operations: int) -> re.Pattern:
    """Attempts of so many operations with their verdicts, then an answer."""
    attempt, check = f"{_STEP}(?:{_ON} = [0-9]+){{{operations - 1}}}", " , ".join([_STEP] * operations)
    verdicts = f"(?:low |high |check {check} (?:ok|low|high) )"
    return re.compile(f"(?:{attempt} {verdicts})*(?:stop )?{ANSWER} (?:none|[0-9]+(?:{_ON}){{{operations}}})")


_RESPONSES = _response_of(2), _response_of(3)


def prompt_text(problem: Problem) -> str:
    """The question as the model reads it.

    >>> prompt_text(Problem((3, 4, 11), 77))
    'make 77 from 3 4 11 :'
    """
    return f"make {problem.target} from {' '.join(map(str, problem.numbers))} :"


def prompt_ids(problem: Problem, tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(prompt_text(problem))


def final_answer(response: str) -> str | None:
    """What stands behind the last `answer`: an expression, or None for `none`, nothing or anything else."""
    _, opener, answer = f" {response}".rpartition(f" {ANSWER} ")
    return answer.strip() if opener and _ANSWER.fullmatch(answer.strip()) else None


def is_correct(problem: Problem, response: str) -> bool:
    """True if the final answer uses the numbers once each and, left to right, exactly makes the target.

    >>> is_correct(Problem((3, 4, 11), 77), "answer 3 + 4 * 11"), is_correct(Problem((3, 4, 11), 77), "answer 7 * 11")
    (True, False)
    """
    answer = final_answer(response)
    return answer is not None and _reaches(problem, answer.split(" "))


def vote_is_correct(problem: Problem, answer: str) -> bool:
    return is_correct(problem, f"{ANSWER} {answer}")


def attempts(response: str) -> list[tuple[str, ...]]:
    """The keys of each attempt of a response, in order; a commuting first pair is put in order.

    >>> attempts("4 + 3 = 7 * 11 = 77 check 4 + 3 = 7 , 7 * 11 = 77 ok answer 4 + 3 * 11")
    [('3', '+', '4', '*', '11')]
    """
    found = []
    for attempt in _ATTEMPT.findall(response):
        words = attempt.split(" ")
        keys = [words[0], *itertools.chain(*zip(words[1::4], words[2::4]))]
        a, op, b = keys[:3]
        if op in "+*" and (len(a), a) > (len(b), b):  # as numbers, but of any length
            keys[0], keys[2] = b, a
        found.append(tuple(keys))
    return found


def hits(problem: Problem, tried: list[tuple[str, ...]]) -> int:
    """How many attempts do reach the target, whatever the response says of them."""
    return sum(_reaches(problem, attempt) for attempt in tried)


def repetition(response: str, ids: Sequence[int]) -> tuple[Sequence, int]:
    """What may not occur too often, and in runs of how many: single attempts."""
    return attempts(response), 1


def is_grammatical(response: str) -> bool:
    """True if the whole response reads as attempts with verdicts and then an answer, its arithmetic right or wrong."""
    return any(pattern.fullmatch(response) for pattern in _RESPONSES)


def _reaches(problem: Problem, keys: Sequence[str]) -> bool:
    if any(len(key) > 2 for key in keys):
        return False
    numbers = tuple(map(int, keys[::2]))
    values = values_of(numbers, "".join(keys[1::2]))
    return tuple(sorted(numbers)) == problem.numbers and values is not None and values[-1] == problem.target


def blind_search(problems: Sequence[Problem], attempts_made: float) -> float:
    """Accuracy of the blind, never repeating search that makes `attempts_made` attempts a problem on average.

    Allowed n attempts it makes sum_{i<n} P(no hit in i) of them; n is interpolated to meet `attempts_made`.
    """
    used = accuracy = 0.0
    for n in range(1, 1000):
        more_used = used + 1 - accuracy
        more_accuracy = sum(blind_success(problem, n) for problem in problems) / len(problems)
        if more_used >= attempts_made or more_accuracy == 1:
            share = min(1.0, (attempts_made - used) / (more_used - used))
            return accuracy + share * (more_accuracy - accuracy)
        used, accuracy = more_used, more_accuracy
    return accuracy


def yardsticks(problems: Sequence[Problem], attempts_made: float) -> dict[str, float]:
    """What a policy that makes so many attempts a response is compared with."""
    return {"blind_search": blind_search(problems, attempts_made)}


def make_tokenizer() -> Tokenizer:
    """One token a word, and every number from 0 to 99 a word."""
    return Tokenizer.for_words([*map(str, range(LARGEST_VALUE + 1)), *WORDS])


def require_tokenizer(tokenizer: Tokenizer, folder: str) -> None:
    """UserError unless this is the tokenizer that problems and traces are written for."""
    own = make_tokenizer()
    everything = " ".join(own.backend.get_vocab())
    if tokenizer.size != own.size or tokenizer.eos_id != own.eos_id or tokenizer.encode(everything) != own.encode(everything):
        raise UserError(f"{folder}: its tokenizer is not Countdown's; start from a model such as data/tiny-sft")


# --- problems on disk ----------------------------------------------------------------------------------------------

def make_splits(count: int = 3, largest: int = LARGEST_NUMBER, held_out: float = 0.1, seed: int = 0) -> dict[str, list[Problem]]:
    """Every solvable problem over `count` numbers from 1 ... largest, split by its numbers: no set of them is in two splits.

    A target is at least 1 and not itself among the numbers. Validation and test get `held_out` of the sets each; of four numbers, which
    have some forty targets a set, two targets each.
    """
    rng = random.Random(seed)
    sets = list(combinations_with_replacement(range(1, largest + 1), count))
    rng.shuffle(sets)
    n = round(held_out * len(sets))
    parts = zip(SPLITS, (sets[2 * n:], sets[:n], sets[n: 2 * n]))
    splits = {name: [problems_of(numbers) for numbers in sorted(part)] for name, part in parts}
    if count > 3:
        splits |= {name: [sorted(rng.sample(problems, min(2, len(problems)))) for problems in splits[name]] for name in SPLITS[1:]}
    return {name: list(itertools.chain(*problems)) for name, problems in splits.items()}


def problems_of(numbers: tuple[int, ...]) -> list[Problem]:
    """The problems that the numbers can solve, by ascending target."""
    reachable = {chain.value for chain in all_chains(numbers)}
    return [Problem(numbers, target) for target in sorted(reachable) if target >= 1 and target not in numbers]


def save_problems(path: Path, problems: Iterable[Problem]) -> None:
    """One JSON object a line: {"numbers": [3, 4, 11], "target": 77}."""
    rows = [json.dumps({"numbers": list(problem.numbers), "target": problem.target}) for problem in problems]
    write_text(path, "\n".join(rows) + "\n")


def load_problems(path: str | Path) -> list[Problem]:
    """Reads what `save_problems` wrote. UserError names the file, the line and what is wrong with it."""
    if not os.path.exists(path):
        raise UserError(f"there are no problems at {path}; write them with python -m t1mini data")
    problems = []
    for i, row in read_rows(path):
        try:
            problems.append(make_problem(row.get("numbers"), row.get("target")))
        except ValueError as error:
            raise UserError(f'{path}, line {i}: want {{"numbers": [3, 4, 11], "target": 77}}: {error}') from None
    if not problems:
        raise UserError(f"{path} holds no problem; write some with python -m t1mini data")
    return problems


def make_problem(numbers: list[int], target: int) -> Problem:
    """A problem, its numbers put in order. ValueError unless it is three or four integers and a target within 1 ... 99."""
    given = [*numbers, target] if isinstance(numbers, list) else []
    if len(given) not in (4, 5) or not all(type(x) is int and 1 <= x <= LARGEST_VALUE for x in given):
        raise ValueError(f"need three or four numbers and a target, all whole numbers from 1 to {LARGEST_VALUE}")
    return Problem(tuple(sorted(numbers)), target)


def difficulty(problems: Iterable[Problem]) -> dict[str, float]:
    """Means over problems: valid chains, chains that hit, and what a blind search reaches in ten attempts."""
    problems = list(problems)
    totals = Counter()
    for problem in problems:
        totals.update({"chains": len(all_chains(problem.numbers)), "solutions": len(solutions(problem)),
                       "blind@10": blind_success(problem, 10)})
    return {name: total / len(problems) for name, total in totals.items()}
