r"""Critiques of attempts in words: what can be known to be wrong is named.

    an equation is wrong     5 + 3 = 9    ->   "5 + 3 is 8, not 9"          an arithmetic slip
    every equation holds     but the answer is wrong: then so is the plan
    no equation              only the verifier's word is known: wrong

In T1 a language model writes the critiques, and may see more. This is the honest small version: each says
what has been computed, and nothing else. A result that is rounded as it is written holds, but for halves
that are made whole (7/2 = 4).

See it: python -m pytest tests/tasks/test_critiques.py
"""

import re
from fractions import Fraction
from itertools import chain, pairwise

from t1mini.answers.expressions import values
from t1mini.answers.latex import normalise

SLIPS = ("Wait, let me check this. {slip}, so {answer} does not hold up. Let me try once more.",
         "Let me verify the steps. {slip}. The result should not be {answer}; let me compute it again.",
         "Hmm, {answer}? Checking the steps, {slip}. Let me do that again.")
PLANS = ("Wait, let me check this. The calculations hold, but {answer} is not what was asked for: the plan "
         "must be wrong. Let me think again.",
         "Let me verify that. Each calculation is right, and still {answer} does not fit the question. "
         "I should approach it differently.",
         "Hmm, {answer}? The arithmetic is right, so I must have set it up wrong. Let me read it again.")
DOUBTS = ("Wait, let me check this. Going through it again, {answer} does not hold up. Let me try once more.",
          "Let me verify that. Something went wrong on the way: the result should not be {answer}. "
          "I should approach it differently.",
          "Hmm, {answer}? Checking the steps against the question, they do not agree. Let me think again.")
ASSENT = "Let me check this: the steps hold, and this is what was asked for."

# all that may stand on a side: "6 pages * 2/3 = 4" says nothing of 2/3 alone
_SIGNS, _LONGEST = "0123456789 \t$.,()+*/%^×÷x−–-", 100
_NUMBER = r"\$?(?!0\d)(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
_TERM = rf"\(*{_NUMBER}\)*"
_LEFT, _RIGHT = re.compile(rf"{_TERM}(?:\s*[-+*/×÷x−–]\s*{_TERM})+"), re.compile(_NUMBER)


def critique(attempt: str, answer: str, rng) -> str:
    """What a wrong attempt is told: the first slip in its equations, or how they do not help."""
    found = equations(attempt)
    slips = [f"{left} is {right}, not {said}" for left, said, right in found if right]
    kind = SLIPS if slips else PLANS if found else DOUBTS
    return rng.choice(kind).format(answer=answer, slip=slips[0] if slips else "")


def equations(text: str) -> list[tuple[str, str, str]]:
    """(left side, number said to equal it, what it is where that is another) of each equation in numbers.

    >>> equations("She has 5 + 3 = 9 apples. Then 9 * 2 = $18, and 10/3 = 3.33")
    [('5 + 3', '9', '8'), ('9 * 2', '$18', ''), ('10/3', '3.33', '')]
    """
    found = []
    parts = re.split(r"[.,;:?!]\s|\n", text)
    for before, after in chain.from_iterable(pairwise(part.split("=")) for part in parts):
        words, rest = before.rstrip(_SIGNS), after.lstrip(_SIGNS)
        left, said = before[len(words) :].strip(), after[: len(after) - len(rest)]
        unit = said[-1:].isdigit() and rest[:1].isalpha()  # 1.2y
        said = said.lstrip().rstrip(" .,(")
        if (words.endswith(" of") or unit or len(left + said) > _LONGEST
                or not (_LEFT.fullmatch(left) and _RIGHT.fullmatch(said))):
            continue
        exact = values(normalise(re.sub("[−–]", "-", left.replace("x", "*").replace("$", ""))))
        if exact and isinstance(exact[0], Fraction):
            found.append((left, said, "" if holds(said, exact[0]) else f"{float(exact[0]):.10g}"))
    return found


def holds(said: str, exact: Fraction) -> bool:
    """Whether a number is as written, rounded to its last digit or cut off behind it."""
    whole, _, decimals = said.lstrip("$").replace(",", "").partition(".")
    off = abs(Fraction(f"{whole or 0}.{decimals or 0}") - exact)
    return off * 10 ** len(decimals) < (1 if decimals else Fraction(1, 2)) or off <= abs(exact) / 10**9
