"""Countdown's imperfect teacher: who writes the chains of thought that the embedded model is fine-tuned on.

It prefers chains that come near the target, but it sometimes repeats itself, slips in arithmetic, misjudges a
value, believes a wrong check, and gives up early. That is on purpose: it leaves reinforcement learning
something to mend.

See some: python -m t1mini data --show 5
"""

import math
import random
from dataclasses import dataclass
from typing import Sequence

from t1mini.chain_of_thought import merge
from t1mini.tasks.chains import LARGEST_VALUE, OPERATORS, Chain, Problem, all_chains, compute, solutions


@dataclass(frozen=True)
class Teacher:
    """How often the teacher errs. Each is a probability, `spread` apart."""

    spread: float = 40.0  # an untried chain is drawn in proportion to exp(-|value - target| / spread)
    give_up: float = 0.1  # after each attempt that missed
    repeat: float = 0.06  # of an attempt: an earlier one, again
    slip: float = 0.02  # of an attempt: its last value is off
    misjudge: float = 0.02  # of a verdict: low for high, high for low, or ok for either
    most_attempts: int = 12


def make_trace(problem: Problem, wrong_attempts: Sequence[Chain], rng: random.Random) -> str:
    """A faultless trace: the given wrong attempts, each judged, then one of the problem's solutions, checked.

    >>> p = Problem((3, 4, 11), 77)
    >>> make_trace(p, [Chain((3, 11, 4), "+*", (14, 56))], random.Random(0))
    '3 + 11 = 14 * 4 = 56 low 3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11'
    """
    tried = [*wrong_attempts, rng.choice(solutions(problem))]
    critiques = [critique(chain, chain.value, problem.target) for chain in tried]
    return merge([attempt_text(chain, chain.value) for chain in tried], critiques, str(tried[-1]))


def teach(problem: Problem, teacher: Teacher, rng: random.Random) -> str:
    """One trace of the imperfect teacher: often right, sometimes wrong, sometimes none."""
    untried = list(all_chains(problem.numbers))
    attempts, critiques, tried = [], [], []
    while True:
        again = tried and rng.random() < teacher.repeat
        chain = rng.choice(tried) if again else _draw(untried, problem.target, teacher.spread, rng)
        tried.append(chain)
        seen = _slip(chain, rng) if rng.random() < teacher.slip else chain.value
        misjudged = rng.random() < teacher.misjudge
        attempts.append(attempt_text(chain, seen))
        critiques.append(critique(chain, seen, problem.target, misjudged))
        if critiques[-1].endswith("ok"):
            return merge(attempts, critiques, str(chain))
        if rng.random() < teacher.give_up or len(tried) == teacher.most_attempts or not untried:
            return merge(attempts, critiques, "none", opener="stop answer")


def attempt_text(chain: Chain, seen: int) -> str:
    """The chain with the value after each operation, the last one as it is `seen`.

    >>> attempt_text(Chain((3, 11, 4), "+*", (14, 56)), 57)
    '3 + 11 = 14 * 4 = 57'
    """
    text = str(chain.numbers[0])
    for op, number, value in zip(chain.ops, chain.numbers[1:], (*chain.values[:-1], seen)):
        text += f" {op} {number} = {value}"
    return text


def critique(chain: Chain, seen: int, target: int, misjudged: bool = False) -> str:
    """The verdict on an attempt seen as `seen`. A hit is computed again first, which finds out a slip."""
    if seen != target:
        return verdict(seen, target, misjudged)
    steps = " , ".join(f"{before} {op} {number} = {after}" for before, op, number, after in chain.steps)
    return f"check {steps} {'ok' if misjudged else verdict(chain.value, target)}"


def verdict(value: int, target: int, misjudged: bool = False) -> str:
    """low, ok or high; misjudged, a miss is put on the wrong side."""
    if value == target:
        return "ok"
    return "low" if (value < target) != misjudged else "high"


def _draw(untried: list[Chain], target: int, spread: float, rng: random.Random) -> Chain:
    """One of the untried chains, sooner one that comes near the target."""
    misses = [abs(chain.value - target) for chain in untried]
    nearest = min(misses)
    weights = [math.exp((nearest - miss) / spread) for miss in misses]
    return untried.pop(rng.choices(range(len(untried)), weights)[0])


def _slip(chain: Chain, rng: random.Random) -> int:
    """A wrong last value, near the right one or with the wrong operation."""
    before, _, number, right = chain.steps[-1]
    near = [right + distance for distance in (-10, -2, -1, 1, 2, 10)]
    other = [compute(before, op, number) for op in OPERATORS]
    allowed = range(LARGEST_VALUE + 1)
    return rng.choice([value for value in near + other if value in allowed and value != right])
