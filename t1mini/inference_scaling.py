"""Inference scaling: accuracy against the number of tokens the model may think, with no verifier.

    1. let the policy think as long as it likes
    2. cut the thinking after `budget` tokens (at its end if it is shorter)
    3. append the task's answer opener and let it write the answer          T1, section on inference scaling

A response that finished within the budget, its answer and end token counted, keeps that answer; a forced
answer comes on top of the budget, up to --answer-tokens. T1 has a summariser write the answer from the
truncated thinking; here the policy itself is forced to. Nothing tells it whether an answer is right, so where
the curve rises, the thinking itself is worth its tokens. T1 finds that it rises more the further
reinforcement learning has gone.

Run it: python -m t1mini scale --init data/tiny-sft data/tiny-rl
"""

import bisect
from dataclasses import dataclass
from typing import Sequence

import numpy as np
from tqdm import tqdm

from t1mini.evaluate import EvaluateConfig, pick_problems, respond
from t1mini.fast import twins
from t1mini.model import Qwen
from t1mini.rollout import Rollouts
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, csv_text
from t1mini.runs.settings import UserError, setting
from t1mini.runs.tokenizer import Tokenizer
from t1mini.statistics import clustered_interval
from t1mini.tasks import TASKS


@dataclass(frozen=True)
class ScaleConfig(EvaluateConfig):
    init: tuple = setting(("data/tiny-sft", "data/tiny-rl"), "checkpoint folders, a curve for each", qwen=())
    budgets: tuple = setting((16, 32, 48, 64, 96, 128, 160, 192), "tokens of thinking", "0 to 1_048_576",
                             qwen=(64, 128, 256, 384, 512, 768, 1024))
    answer_tokens: int = setting(8, "tokens a forced answer may take", "1 to 65_536", qwen=32)


def run(config: ScaleConfig):
    if max(config.budgets) > config.max_new_tokens:
        raise UserError(f"--budgets {max(config.budgets)}: no response is longer than --max-new-tokens "
                        f"{config.max_new_tokens}")
    problems = pick_problems(config)
    if not config.init:
        raise UserError("--init: which checkpoint folders?")
    policies = {path: load_policy(path, config.device) for path in config.init}
    for path, (_, tokenizer) in policies.items():
        TASKS[config.task].require_tokenizer(tokenizer, path)
    with RunFolder(config, "scale") as folder:
        curves = {path: budget_curve(*policy, problems, respond(*policy, problems, config)[0], config)
                  for path, policy in policies.items()}
        write_curves(folder, curves, config.budgets)
    print(curve_table(curves, config.budgets))


def budget_curve(policy: Qwen, tokenizer: Tokenizer, problems: list, thinking: Rollouts,
                 config: ScaleConfig) -> np.ndarray:
    """Correct or not at each budget, where the same `thinking` is cut: [budgets, problems, samples]"""
    task, (generate, _) = TASKS[config.task], twins(config)
    samples = len(thinking.lengths) // len(problems)
    prompts = [task.prompt_ids(problem, tokenizer) for problem in problems]
    lengths, finished = thinking.lengths.tolist(), thinking.finished.tolist()
    opener = tokenizer.encode(task.FORCED_ANSWER)
    rows, correct = range(len(lengths)), []
    for i, budget in enumerate(tqdm(config.budgets, desc="budgets", leave=False)):
        done = [row for row in rows if finished[row] and lengths[row] <= budget]
        answers = {row: tokenizer.decode(thinking.ids(row)) for row in done}
        cut = [row for row in rows if row not in answers]
        kept = [thoughts(thinking.ids(row), budget, tokenizer, task.END_OF_THINKING) for row in cut]
        forced = [[*prompts[row // samples], *ids, *opener] for row, ids in zip(cut, kept)]
        if cut:
            ends = generate(policy, forced, 1, config.sampling(tokenizer.size), seed=config.seed,
                            step=1 + i, prompt_indices=cut,  # noise of its own
                            max_new_tokens=config.answer_tokens, eos_id=tokenizer.eos_id,
                            max_batch_tokens=config.max_batch_tokens)
            answers |= {row: task.FORCED_ANSWER + tokenizer.decode(ends.ids(j)) for j, row in enumerate(cut)}
        correct.append([task.is_correct(problems[row // samples], answers[row]) for row in rows])
    return np.array(correct, dtype=float).reshape(len(config.budgets), len(problems), samples)


def thoughts(ids: list[int], budget: int, tokenizer: Tokenizer, end: str) -> list[int]:
    """The first `budget` tokens of the thinking, which ends before the text `end`, be that several."""
    marker = tokenizer.encode(end)
    if len(marker) == 1 or end not in tokenizer.decode(ids):
        return truncate_thinking(ids, budget, marker[0] if len(marker) == 1 else -1)
    has_ended = lambda n: end in tokenizer.decode(ids[: n + 1])
    return ids[: min(budget, bisect.bisect_left(range(len(ids)), True, key=has_ended))]


def truncate_thinking(ids: Sequence[int], budget: int, end_id: int) -> list[int]:
    """The first `budget` tokens of the thinking, which ends before the first `end_id`.

    >>> [truncate_thinking([5, 6, 7, 9, 8], budget, end_id=9) for budget in (2, 4)]
    [[5, 6], [5, 6, 7]]
    """
    ids = list(ids)
    return ids[: min(budget, ids.index(end_id))] if end_id in ids else ids[:budget]


def write_curves(folder: RunFolder, curves: dict[str, np.ndarray], budgets: Sequence[int]):
    """budget_curve.csv: a row a policy and budget, with the 95% interval over problems."""
    rows = []
    for label, scores in curves.items():
        for budget, at_budget in zip(budgets, scores):
            low, high = clustered_interval(at_budget)
            rows.append({"policy": label, "budget": budget, "accuracy": float(at_budget.mean()),
                         "low": low, "high": high})
    folder.write_text("budget_curve.csv", csv_text(rows))


def curve_table(curves: dict[str, np.ndarray], budgets: Sequence[int]) -> str:
    width = max(map(len, ["thinking budget", *curves])) + 2
    lines = [f"{'thinking budget':{width}}" + "".join(f"{budget:>8}" for budget in budgets)]
    lines += [f"{label:{width}}" + "".join(f"{accuracy:>8.1%}" for accuracy in scores.mean(axis=(1, 2)))
              for label, scores in curves.items()]
    return "\n".join(lines)
