"""The reward of a response: what the verifier says, unless a penalty overrules it.

    r  = 1 if the final answer is right, else 0          exact, from the task's own check: no reward model
    r' = -1 if the response is repetitive, overlong or garbled, else r

What may not repeat, and what counts as garbled beyond stray characters, is the task's business: Countdown counts whole attempts
(a search that tries the same chain again and again learns nothing) and wants a response to read as attempts, verdicts and an
answer; mathematics counts runs of tokens.

See rewards move: python -m t1mini rl --init data/tiny-sft --steps 5
"""

from dataclasses import dataclass
from typing import Sequence

from t1mini.penalties import is_garbled, is_overlong, is_repetitive, penalised_reward
from t1mini.rollout import Rollouts
from t1mini.tasks import TASKS
from t1mini.runs.tokenizer import Tokenizer


PATTERNS = ("repetitive", "overlong", "garbled")


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

    @property
    def reward(self) -> float:
        return self.penalised(PATTERNS)

    def penalised(self, patterns: Sequence[str]) -> float:
        """The reward where only these patterns are penalised."""
        return penalised_reward(self.correct, *(getattr(self, name) and name in patterns for name in PATTERNS))


def judge(task: str, problem, text: str, ids: Sequence[int], *, finished: bool, max_new_tokens: int, repeat_limit: int) -> Verdict:
    """Judges one response: its text, and its token ids, the end token counted. What may not repeat may occur `repeat_limit` times."""
    rules = TASKS[task]
    tried, (units, n) = rules.attempts(text), rules.repetition(text, ids)
    return Verdict(
        text, correct=finished and rules.is_correct(problem, text),
        repetitive=is_repetitive(units, n, repeat_limit), overlong=is_overlong(len(ids), finished, max_new_tokens),
        garbled=is_garbled(text) or (finished and not rules.is_grammatical(text)),
        attempts=len(tried), hits=rules.hits(problem, tried), length=len(ids))


def judge_rollouts(config, problems: Sequence, rollouts: Rollouts, tokenizer: Tokenizer) -> list[list[Verdict]]:
    """Verdicts [P][K] of prompt-major rollouts; `config` has task, max_new_tokens and repeat_limit.

    Special tokens other than the end stay in the text, and so are judged.
    """
    k = len(rollouts.lengths) // len(problems)
    finished = rollouts.finished.tolist()

    def verdict(problem, row: int) -> Verdict:
        ids = rollouts.ids(row)
        text = tokenizer.decode(ids[: len(ids) - finished[row]], special=True)
        return judge(config.task, problem, text, ids, finished=finished[row], max_new_tokens=config.max_new_tokens,
                     repeat_limit=config.repeat_limit)

    return [[verdict(problem, p * k + i) for i in range(k)] for p, problem in enumerate(problems)]
