"""Chains of thought that try, fail, check and try again: what T1 fine-tunes on before any reinforcement.

T1 collects several attempts at a problem, has a critique judge each, and merges all of it into ONE chain of
thought (T1, section on initialisation). The model so learns to explore and to check itself, not just to
recite solutions.

    attempt   3 + 11 = 14 * 4 = 56              keys as on a pocket calculator, a value after each operation
    critique  low                               why it is not the target: too low, too high
    attempt   3 + 4 = 7 * 11 = 77
    critique  check 3 + 4 = 7 , 7 * 11 = 77 ok  a hit is computed again, step by step, before it is believed
    answer    3 + 4 * 11                        or, giving up: stop answer none

Who attempts and who judges is the task's business: Countdown has an imperfect teacher (t1mini.tasks.teacher),
a real model makes its own attempts (t1mini.collect).

See some: python -m t1mini data --show 5
"""

from typing import Sequence


def merge(attempts: Sequence[str], critiques: Sequence[str], answer: str, *, opener: str = "answer",
          separator: str = " ") -> str:
    """Attempts, each followed by its critique, then the answer: one chain of thought, for any task.

    ValueError unless every attempt has its critique.

    >>> merge(["1 + 2 = 3 + 4 = 7", "1 + 2 = 3 * 4 = 12"], ["low", "ok"], "1 + 2 * 4")
    '1 + 2 = 3 + 4 = 7 low 1 + 2 = 3 * 4 = 12 ok answer 1 + 2 * 4'
    """
    if len(attempts) != len(critiques):
        raise ValueError(f"{len(attempts)} attempts need as many critiques, got {len(critiques)}")
    pieces = [piece for pair in zip(attempts, critiques) for piece in pair]
    return separator.join([*pieces, opener, answer])
