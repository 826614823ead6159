"""Countdown's imperfect teacher: who writes the chains of thought that the embedded model is fine-tuned on.

It prefers chains that come near the target, but it sometimes repeats itself, slips in arithmetic, misjudges a
value, believes a wrong check, and gives up early. That is on purpose: it leaves reinforcement learning
something to mend.

See some: python -m t1mini data --show 5
"""

import math
import random
from dataclasses import dataclass

from t1mini.chain_of_thought import merge
from t1mini.runs.settings import setting
from t1mini.tasks.chains import LARGEST_VALUE, OPERATORS, Chain, Problem, all_chains, compute


@dataclass(frozen=True)
class Teacher:
    """How often the teacher errs; of SFT these are settings."""

    spread: float = setting(40.0, "teacher: chains weigh exp(-|value - target| / spread)",
                            "above 0, and finite")
    give_up: float = setting(0.1, "teacher: chance of giving up after a miss", "0 to 1")
    repeat: float = setting(0.06, "teacher: chance of repeating an attempt", "0 to 1")
    slip: float = setting(0.02, "teacher: chance of a slip in an attempt's last value", "0 to 1")
    misjudge: float = setting(0.02, "teacher: chance of a wrong verdict: low for high, ok for low", "0 to 1")
    most_attempts: int = setting(12, "teacher: attempts at a problem", "1 or more")


def teach(problem: Problem, teacher: Teacher, rng: random.Random):
    """One trace of the imperfect teacher: often right, sometimes wrong, sometimes none."""
    untried = list(all_chains(problem.numbers))
    attempts, critiques, tried = [], [], []
    while True:
        again = tried and rng.random() < teacher.repeat
        chain = rng.choice(tried) if again else _draw(untried, problem.target, teacher.spread, rng)
        tried.append(chain)
        seen = _slip(chain, rng) if rng.random() < teacher.slip else chain.value
        attempts.append(attempt_text(chain, seen))
        critiques.append(critique(chain, seen, problem.target, rng.random() < teacher.misjudge))
        if critiques[-1].endswith("ok"):
            return merge(attempts, critiques, str(chain))
        if rng.random() < teacher.give_up or len(tried) == teacher.most_attempts or not untried:
            return merge(attempts, critiques, "none", opener="stop answer")


def attempt_text(chain: Chain, seen: int):
    """The chain with the value after each operation, the last one as it is `seen`.

    >>> attempt_text(Chain((3, 11, 4), "+*", (14, 56)), 57)
    '3 + 11 = 14 * 4 = 57'
    """
    steps = zip(chain.ops, chain.numbers[1:], (*chain.values[:-1], seen))
    return f"{chain.numbers[0]}" + "".join(f" {op} {number} = {value}" for op, number, value in steps)


def critique(chain: Chain, seen: int, target: int, misjudged=False):
    """The verdict on an attempt seen as `seen`. A hit is computed again first, which finds out a slip.

    Misjudged, a miss is put on the wrong side, and what was seen as a hit is taken for one.
    """
    value = chain.value if seen == target and not misjudged else seen
    verdict = "ok" if value == target else "low" if (value < target) != misjudged else "high"
    if seen != target:
        return verdict
    steps = " , ".join(f"{before} {op} {number} = {after}" for before, op, number, after in chain.steps)
    return f"check {steps} {verdict}"


def _draw(untried, target, spread, rng):
    """One of the untried chains, sooner one that comes near the target."""
    misses = [abs(chain.value - target) for chain in untried]
    nearest = min(misses)
    weights = [math.exp((nearest - miss) / spread) for miss in misses]
    return untried.pop(rng.choices(range(len(untried)), weights)[0])


def _slip(chain, rng):
    """A wrong last value, near the right one or with the wrong operation."""
    before, _, number, right = chain.steps[-1]
    near = [right + distance for distance in (-10, -2, -1, 1, 2, 10)]
    other = [compute(before, op, number) for op in OPERATORS]
    allowed = range(LARGEST_VALUE + 1)
    return rng.choice([value for value in near + other if value in allowed and value != right])
