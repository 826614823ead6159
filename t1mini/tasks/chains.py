"""Chains: what can be keyed in from Countdown's numbers, and how hard a target is to hit by chance.

A chain is a sequence of keys, a op b op c, as on a pocket calculator, each number once. Division must be
exact, and every intermediate value stays within 0 ... 99; when the first two numbers commute, a <= b is the
one that counts. There are some twenty valid chains of three numbers, and fewer than two of them hit a
problem's target: finding one takes search. Of four numbers there are some 190 and 4: a harder task, of the
same words.

See how hard the problems are: python -m t1mini data
"""

import math
from functools import lru_cache
from itertools import permutations, product
from statistics import fmean
from typing import NamedTuple, Sequence

LARGEST_VALUE = 99
OPERATORS = "+-*/"


class Problem(NamedTuple):
    numbers: tuple[int, ...]  # ascending; three or four
    target: int


class Chain(NamedTuple):
    """Keys in the order they are pressed, a number first, and the value after each operation.

    >>> str(Chain((3, 11, 4), "+*", (14, 56))), Chain((3, 11, 4), "+*", (14, 56)).steps
    ('3 + 11 * 4', [(3, '+', 11, 14), (14, '*', 4, 56)])
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
        return " ".join([str(self.numbers[0]), *(f"{op} {number}" for _, op, number, _ in self.steps)])


def compute(a: int | None, op: str, b: int) -> int | None:
    """a op b, or None where it is not an integer within 0 ... 99.

    >>> compute(12, "/", 4), compute(12, "/", 5), compute(3, "-", 5), compute(50, "*", 2)
    (3, None, None, None)
    """
    if a is None or (op == "/" and (b == 0 or a % b)):
        return None
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a // (b or 1)}[op]
    return value if 0 <= value <= LARGEST_VALUE else None


def values_of(numbers: Sequence[int], ops: Sequence[str]) -> tuple[int | None, ...]:
    """The value after each operation, None from the first that is not allowed.

    >>> values_of((3, 4, 11), "+*"), values_of((3, 4, 11), "-*")
    ((7, 77), (None, None))
    """
    value, values = numbers[0], []
    for op, number in zip(ops, numbers[1:]):
        value = compute(value, op, number)
        values.append(value)
    return tuple(values)


@lru_cache(maxsize=None)
def all_chains(numbers: tuple[int, ...]) -> tuple[Chain, ...]:
    """Every valid chain over the numbers, a commuting first pair counted once."""
    found = []
    for keys in sorted(set(permutations(numbers))):
        for ops in map("".join, product(OPERATORS, repeat=len(numbers) - 1)):
            values = values_of(keys, ops)
            if values[-1] is not None and (ops[0] in "-/" or keys[0] <= keys[1]):
                found.append(Chain(keys, ops, values))
    return tuple(found)


def solutions(problem: Problem) -> list[Chain]:
    """The chains that hit the target."""
    return [chain for chain in all_chains(problem.numbers) if chain.value == problem.target]


def blind_success(problem: Problem, attempts: int) -> float:
    """Chance that a search which draws valid chains at random, never one twice, hits within `attempts`."""
    chains, hits = len(all_chains(problem.numbers)), len(solutions(problem))
    attempts = min(attempts, chains)
    return 1.0 - math.comb(chains - hits, attempts) / math.comb(chains, attempts)


def blind_search(problems: Sequence[Problem], attempts_made: float) -> float:
    """Accuracy of the blind, never repeating search that makes `attempts_made` attempts a problem on average.

    Allowed n attempts it makes sum_{i<n} P(no hit in i) of them; n is interpolated to meet `attempts_made`.
    """
    used = accuracy = 0.0
    for n in range(1, 1000):
        more_used = used + 1 - accuracy
        more_accuracy = fmean(blind_success(problem, n) for problem in problems)
        if more_used >= attempts_made or more_accuracy == 1:
            share = min(1.0, (attempts_made - used) / (more_used - used))
            return accuracy + share * (more_accuracy - accuracy)
        used, accuracy = more_used, more_accuracy
    return accuracy
