"""Chains: what can be keyed in from Countdown's numbers, and how hard a target is to hit by chance.

A chain is a sequence of keys, a op b op c, as on a pocket calculator, each number once. Division must be
exact, and every intermediate value stays within 0 ... 99; when the first two numbers commute, a <= b is the
one that counts. There are some twenty valid chains of three numbers, and fewer than two of them hit a
problem's target: finding one takes search. Of four numbers there are some 190 and 4: a harder task, of the
same words.

See how hard the problems are: python -m t1mini data
"""

from functools import cache
from itertools import accumulate, permutations, product
from statistics import fmean
from typing import NamedTuple

import numpy as np

from t1mini.statistics import pass_at_k

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
    def value(self):
        return self.values[-1]

    @property
    def steps(self):
        """(value before, operation, number, value after) of each operation."""
        return list(zip((self.numbers[0], *self.values), self.ops, self.numbers[1:], self.values))

    def __str__(self):
        return f"{self.numbers[0]}" + "".join(f" {op} {number}" for _, op, number, _ in self.steps)


def compute(a, op: str, b: int):
    """a op b, or None where it is not an integer within 0 ... 99, or b is not one of 1 ... 99.

    >>> compute(12, "/", 4), compute(12, "/", 5), compute(3, "-", 5), compute(50, "*", 2), compute(3, "/", 0)
    (3, None, None, None, None)
    """
    if a is None or b < 1 or op == "/" and a % b:
        return None
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[op]
    return value if 0 <= value <= LARGEST_VALUE else None


def values_of(numbers, ops):
    """The value after each operation, None from the first that is not allowed.

    >>> values_of((3, 4, 11), "+*"), values_of((3, 4, 11), "-*")
    ([7, 77], [None, None])
    """
    values = [numbers[0]]
    for op, number in zip(ops, numbers[1:]):
        values.append(compute(values[-1], op, number))
    return values[1:]


@cache
def all_chains(numbers: tuple):
    """Every valid chain over the numbers, a commuting first pair counted once."""
    orders = sorted(set(permutations(numbers)))
    chains = [Chain(order, "".join(ops), tuple(values_of(order, ops)))
              for order, ops in product(orders, product(OPERATORS, repeat=len(numbers) - 1))
              if ops[0] in "-/" or order[0] <= order[1]]
    return tuple(chain for chain in chains if chain.value is not None)


@cache
def solutions(problem: Problem):
    """The chains that hit the target."""
    return tuple(chain for chain in all_chains(problem.numbers) if chain.value == problem.target)


def blind_success(problem: Problem, attempts: int):
    """Chance that a search which draws valid chains at random, never one twice, hits within `attempts`."""
    chains = len(all_chains(problem.numbers))
    return pass_at_k(chains, len(solutions(problem)), min(attempts, chains))


def blind_search(problems, attempts_made: float):
    """Accuracy of the blind, never repeating search that makes `attempts_made` attempts a problem on average.

    Allowed n attempts it makes sum_{i<n} P(no hit in i) of them; n is interpolated to meet `attempts_made`.
    """
    most = max(len(all_chains(problem.numbers)) for problem in problems)
    solved = [fmean(blind_success(problem, n) for problem in problems) for n in range(1, most + 1)]
    made = accumulate((1 - share for share in solved), initial=1.0)  # allowed 1, 2, ... attempts
    return np.interp(attempts_made, [0, *made][:-1], [0, *solved])
