"""Exercise 9: penalties (tutorials/09_penalties_and_the_loop.md).

Check it: python tutorials/check.py 09
Run it in the real loop: python -m t1mini rl --exercise tutorials/exercises/ex09_penalties.py --steps 20
"""

from typing import Sequence


def is_repetitive(ids: Sequence, n: int, limit: int) -> bool:
    """True if some run of n consecutive ids occurs more than `limit` times; overlapping runs count.
    About 4 lines, 15 minutes, medium.

    ids may be whole numbers, or texts, or tuples such as attempts; fewer than n of them are not repetitive.
    n and limit are at least 1.
    """
    raise NotImplementedError


def is_overlong(length: int, finished: bool, max_new_tokens: int) -> bool:
    """True if a response used up its limit and its end token is not among its tokens.
    About 1 line, 5 minutes, easy.

    `finished` says that the end token is among its tokens. `length` counts the end token, and is never above
    the limit.
    """
    raise NotImplementedError


def penalised_reward(reward: float, repetitive: bool, overlong: bool, garbled: bool) -> float:
    """-1 if any pattern is there, whatever the response answers; else the reward.
    About 1 line, 5 minutes, easy.
    """
    raise NotImplementedError


def is_garbled(text: str) -> bool:
    """True if a response has what does not belong into it. About 8 lines, 20 minutes, medium.

    That is: the replacement character U+FFFD; a control character (unicodedata.category "Cc") other than line
    feed, carriage return and tab; or letters (category "L...") of which more than a tenth are neither Latin
    nor Greek, as unicodedata.name begins (one without a name is foreign). Digits, signs and faces are no
    letters, and a text without letters has none that are foreign.
    """
    raise NotImplementedError
