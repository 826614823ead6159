"""Penalties: responses that show an unexpected pattern are worth -1, whatever they answer.

Reinforcement learning finds every loophole: saying the same thing again until the limit, never ending,
drifting into other scripts. T1 replaces the reward of such a response by -1 (T1, section on reinforcement
learning):

    repetitive   some n-gram of the response occurs more than `limit` times
    overlong     the response reached the limit of tokens without its end token
    garbled      it has control or replacement characters, or more than a share of letters of other scripts

Replaces, not adds: a correct answer found by babbling is still worth -1.

The reward of a response is then

    r  = 1 if the final answer is right, else 0          exact, from the task's own check: no reward model
    r' = -1 if the response is repetitive, overlong or garbled, else r

What may not repeat, and what counts as garbled beyond stray characters, is the task's business: Countdown
counts whole attempts (a search that tries the same chain again and again learns nothing) and wants a response
to read as attempts, verdicts and an answer; mathematics counts runs of tokens.

See them at their boundaries: python -m pytest tests/test_penalties.py
"""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Sequence

import torch
from torch import Tensor

from t1mini.rollout import Rollouts
from t1mini.runs.tokenizer import Tokenizer

PATTERNS = ("repetitive", "overlong", "garbled")


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


def is_garbled(text: str) -> bool:
    r"""True if `text` has control or replacement characters, or over a tenth of its letters are neither Latin
    nor Greek.

    A letter that is a sign is the one it stands for (µ, ℝ, ℓ, 𝑥), and an emoji may be newer than Python's
    tables.

    >>> is_garbled("x = 5, so α > 0"), is_garbled("the \ufffd answer"), is_garbled("so 答案是 five")
    (False, True, True)
    """
    letters = foreign = 0
    for character in unicodedata.normalize("NFKC", text):
        kind = unicodedata.category(character)
        if character == "\ufffd" or (kind in ("Cc", "Cs", "Co", "Cn") and character not in "\n\r\t"
                                     and not "\U0001f000" < character < "\U0001fb00"):
            return True
        if kind.startswith("L"):
            letters += 1
            foreign += not unicodedata.name(character, "").startswith(("LATIN", "GREEK"))
    return foreign > 0.1 * letters


def penalised_reward(reward: float, repetitive: bool, overlong: bool, garbled: bool) -> float:
    """-1 if any pattern is present, else the reward.

    >>> penalised_reward(1.0, False, False, False), penalised_reward(1.0, False, True, False)
    (1.0, -1.0)
    """
    return -1.0 if repetitive or overlong or garbled else float(reward)


@dataclass(frozen=True)
class Verdict:
    """One response, judged."""

    text: str
    correct: bool
    repetitive: bool
    overlong: bool
    garbled: bool
    attempts: int
    hits: int  # attempts that reach the target, noticed or not
    length: int  # tokens, the end token counted

    def reward(self, patterns: Sequence[str] = PATTERNS) -> float:
        """r' where only these patterns are penalised."""
        shown = (getattr(self, name) and name in patterns for name in PATTERNS)
        return penalised_reward(float(self.correct), *shown)


def judge(task, problem, text: str, ids: Sequence[int], *, finished: bool, max_new_tokens: int,
          repeat_limit: int) -> Verdict:
    """Judges one response to a problem of `task` (t1mini.tasks): its text, and its ids with the end token.

    What may not repeat may occur `repeat_limit` times.
    """
    tried = task.attempts(text)
    units, n = task.repetition(text, ids)
    return Verdict(
        text, correct=finished and task.is_correct(problem, text),  # what has no end has no answer yet
        repetitive=is_repetitive(units, n, repeat_limit),
        overlong=is_overlong(len(ids), finished, max_new_tokens),
        garbled=is_garbled(text) or (finished and not task.is_grammatical(text)),
        attempts=len(tried), hits=task.hits(problem, tried), length=len(ids))


def judge_rollouts(task, problems: Sequence, rollouts: Rollouts, tokenizer: Tokenizer, *, max_new_tokens: int,
                   repeat_limit: int) -> list[list[Verdict]]:
    """Verdicts [P][K] of prompt-major rollouts. Special tokens other than the end count as text."""
    k = len(rollouts.lengths) // len(problems)
    verdicts = [[] for _ in problems]
    for row, finished in enumerate(rollouts.finished.tolist()):
        ids = rollouts.ids(row)
        text = tokenizer.decode(ids[: len(ids) - finished], special=True)
        verdicts[row // k].append(judge(task, problems[row // k], text, ids, finished=finished,
                                        max_new_tokens=max_new_tokens, repeat_limit=repeat_limit))
    return verdicts


def rewards_of(verdicts: list[list[Verdict]], patterns: Sequence[str] = PATTERNS) -> Tensor:
    """Rewards [P, K] where only these patterns are penalised."""
    return torch.tensor([[verdict.reward(patterns) for verdict in group] for group in verdicts])
