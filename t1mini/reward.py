"""The reward of a response: what the verifier says, unless a penalty overrules it.

    r  = 1 if the final answer is right, else 0          exact, from the task's own check: no reward model
    r' = -1 if the response is repetitive, overlong or garbled, else r

Countdown's particulars: what may not repeat is a whole attempt (a search that tries the same chain again and again learns
nothing), and a response that does not read as attempts, verdicts and an answer counts as garbled.

See rewards move: python -m t1mini rl --init data/tiny-sft --steps 5
"""

from dataclasses import dataclass

from t1mini import countdown
from t1mini.countdown import Problem
from t1mini.penalties import is_garbled, is_overlong, is_repetitive, penalised_reward
from t1mini.rollout import Rollouts
from t1mini.tokenizer import Tokenizer


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
        return penalised_reward(self.correct, self.repetitive, self.overlong, self.garbled)


def judge(problem: Problem, text: str, *, length: int, finished: bool, max_new_tokens: int, repeat_limit: int) -> Verdict:
    """Judges one response's text. `length` is in tokens; an attempt may occur `repeat_limit` times."""
    tried = countdown.attempts(text)
    overlong = is_overlong(length, finished, max_new_tokens)
    return Verdict(
        text, correct=finished and countdown.is_correct(problem, text),
        repetitive=is_repetitive(tried, n=1, limit=repeat_limit), overlong=overlong,
        garbled=is_garbled(text) or (finished and not countdown.is_grammatical(text)),
        attempts=len(tried), hits=countdown.hits(problem, tried), length=length)


def judge_rollouts(problems: list[Problem], rollouts: Rollouts, tokenizer: Tokenizer, *, max_new_tokens: int,
                   repeat_limit: int) -> list[list[Verdict]]:
    """Verdicts [P][K] of prompt-major rollouts. Special tokens other than the end stay in the text, and so are judged."""
    k = len(rollouts.lengths) // len(problems)
    lengths, finished = rollouts.lengths.tolist(), rollouts.finished.tolist()
    text = lambda row: tokenizer.decode(rollouts.ids(row)[: lengths[row] - finished[row]], special=True)
    return [[judge(problem, text(row), length=lengths[row], finished=finished[row], max_new_tokens=max_new_tokens,
                   repeat_limit=repeat_limit)
             for row in range(p * k, (p + 1) * k)] for p, problem in enumerate(problems)]
