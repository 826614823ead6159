"""Exercise 4: trial-and-error thinking and fine-tuning on it (tutorials/04_trial_and_error.md).

Check it: python tutorials/check.py 04
"""

import random

import torch
from torch import Tensor

from t1mini.chain_of_thought import merge  # noqa: F401  you may use these
from t1mini.tasks.teacher import attempt_text, critique  # noqa: F401  you may use these
from t1mini.tasks.chains import Chain, Problem, solutions  # noqa: F401


def make_trace(problem: Problem, wrong_attempts: list[Chain], rng: random.Random) -> str:
    """A faultless trace: the wrong attempts in order, each judged, then a solution, checked.
    About 5 lines, 15 minutes, medium.

    For Problem((3, 4, 11), 77) and one wrong attempt, 3 + 11 * 4:

        3 + 11 = 14 * 4 = 56 low 3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11

    A miss is `low` or `high`; a hit is computed again behind `check` and found `ok`. Where the problem, of
    three numbers, has several solutions, `rng` draws one of
    solutions(problem), in which a commuting first pair stands once. Of a Chain, numbers are (3, 11, 4) here,
    ops "+*", values (14, 56), value is 56, and str(chain) is its keys.
    """
    raise NotImplementedError


def sft_mask(ids: list[list[int]], prompt_len: list[int]) -> Tensor:
    """Which tokens fine-tuning learns from. About 4 lines, 10 minutes, easy.

    ids[n] is row n's prompt and response, its end token included; the rows will be padded on the right to the
    longest, T. -> bool [N, T], True on response tokens. Any id may stand anywhere, so nothing can be told
    from ids.
    """
    raise NotImplementedError
