"""Penalties: responses that show an unexpected pattern are worth -1, whatever they answer.

Reinforcement learning finds every loophole: saying the same thing again until the limit, never ending, drifting into
other scripts. T1 replaces the reward of such a response by -1 (T1, section on reinforcement learning):

    repetitive   some n-gram of the response occurs more than `limit` times
    overlong     the response reached the limit of tokens without its end token
    garbled      it has control or replacement characters, or more than a share of its letters outside the expected scripts

Replaces, not adds: a correct answer found by babbling is still worth -1.

A task may count what it likes as the units of repetition (Countdown counts whole attempts) and may add a grammar to
"garbled" (see `t1mini.reward`).

See them at their boundaries: python -m pytest tests/test_penalties.py
"""

import unicodedata
from collections import Counter
from typing import Sequence


def is_repetitive(ids: Sequence, n: int, limit: int) -> bool:
    """True if some run of `n` consecutive ids occurs more than `limit` times (overlapping runs count).

    >>> is_repetitive([1, 2, 1, 2, 1, 2], n=2, limit=2), is_repetitive([1, 2, 1, 2], n=2, limit=2)
    (True, False)
    """
    if n < 1 or limit < 1:
        raise ValueError(f"need n >= 1 and limit >= 1, got {n} and {limit}")
    counts = Counter(zip(*(ids[i:] for i in range(n))))
    return max(counts.values(), default=0) > limit


def is_overlong(length: int, finished: bool, max_new_tokens: int) -> bool:
    """True if the response used all `max_new_tokens` and its end token is not among them.

    >>> is_overlong(8, False, 8), is_overlong(8, True, 8)
    (True, False)
    """
    return length >= max_new_tokens and not finished


def is_garbled(text: str, scripts: Sequence[str] = ("LATIN", "GREEK"), share: float = 0.1) -> bool:
    r"""True if `text` has control or replacement characters, or over `share` of its letters are of other scripts.

    `scripts` are the first words of Unicode character names, such as LATIN, GREEK, CYRILLIC, CJK.

    >>> is_garbled("x = 5, so α > 0"), is_garbled("the \ufffd answer"), is_garbled("so 答案是 five")
    (False, True, True)
    """
    letters = foreign = 0
    for character in text:
        kind = unicodedata.category(character)
        if character == "\ufffd" or (kind in ("Cc", "Cs", "Co", "Cn") and character not in "\n\r\t"):
            return True
        if kind.startswith("L"):
            letters += 1
            foreign += not unicodedata.name(character, "").startswith(tuple(scripts))
    return foreign > share * letters


def penalised_reward(reward: float, repetitive: bool, overlong: bool, garbled: bool) -> float:
    """-1 if any pattern is present, else the reward.

    >>> penalised_reward(1.0, False, False, False), penalised_reward(1.0, False, True, False)
    (1.0, -1.0)
    """
    return -1.0 if repetitive or overlong or garbled else float(reward)
