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

import numpy as np

from t1mini.evaluate import EvaluateConfig, pick_problems, respond, table
from t1mini.fast import twins
from t1mini.runs.folder import RunFolder, csv_text, json_lines
from t1mini.runs.settings import UserError, setting
from t1mini.statistics import clustered_interval, paired_bootstrap
from t1mini.tasks import TASKS, policy_for


SHOWN = 8  # problems whose responses cuts.jsonl keeps


@dataclass(frozen=True)
class ScaleConfig(EvaluateConfig):
    init: tuple = setting(("data/tiny-sft", "data/tiny-rl"), "checkpoint folders, a curve for each",
                          qwen=("",))
    budgets: tuple = setting((16, 32, 48, 64, 96, 128, 160, 192), "tokens of thinking", "0 to 1_048_576",
                             qwen=(64, 128, 256, 384, 512, 768, 1024),
                             smollm=(16, 32, 48, 64, 96, 128, 160))
    answer_tokens: int = setting(8, "tokens a forced answer may take", "1 to 65_536", qwen=32)


def run(config: ScaleConfig):
    longest = max(config.budgets)
    if longest > config.max_new_tokens:
        raise UserError(f"--budgets {longest}: no response is longer than --max-new-tokens "
                        f"{config.max_new_tokens}")
    problems = pick_problems(config)
    forced = longest + len(TASKS[config.task].FORCED_ANSWER) + config.answer_tokens
    load = lambda path: policy_for(config, path, problems, forced)
    for path in config.init:
        load(path)  # a wrong one is told before the first is measured; in memory is one at a time
    curves, cuts = {}, {}
    with RunFolder(config, "scale") as folder:
        for path in config.init:
            policy = load(path)
            thinking, _ = respond(*policy, problems, config)
            curves[path], cuts[path] = budget_curve(*policy, problems, thinking, config)
            del policy
        write_curves(folder, curves, config.budgets, cuts)
    print(curve_table(curves, config.budgets), gains(curves, config.budgets, config.seed), sep="\n\n")
    print(f"wrote {folder.path}/budget_curve.csv")


def budget_curve(policy, tokenizer, problems: list, thinking, config: ScaleConfig):
    """Correct or not at each budget, where the same `thinking` is cut: [budgets, problems, samples]. And of
    the first problems one response each, to be looked at, with its answer at each budget.
    """
    task, (generate, _) = TASKS[config.task], twins(config)
    asked = [problem for problem in problems for _ in range(config.samples)]  # by the row
    opener = tokenizer.encode(task.FORCED_ANSWER)
    correct, kept = [], [{"prompt": task.prompt_text(problem), "cuts": [],
                          "tokens": [tokenizer.decode([token]) for token in thinking.ids(i * config.samples)]}
                         for i, problem in enumerate(problems[:SHOWN])]
    for step, budget in enumerate(config.budgets, 1):
        answers = [tokenizer.decode(ids[:-1], special=True) for ids in thinking.unpadded]  # but the end token
        cut = (~thinking.finished | (thinking.lengths > budget)).nonzero().flatten().tolist()
        forced = [[*task.prompt_ids(asked[row], tokenizer),
                   *thoughts(thinking.ids(row), budget, tokenizer, task.END_OF_THINKING), *opener]
                  for row in cut]
        if cut:  # each budget with noise of its own: one draw's luck would shift the whole curve
            ends = generate(policy, forced, 1, config.sampling(tokenizer.size), seed=config.seed, step=step,
                            prompt_indices=cut, max_new_tokens=config.answer_tokens,
                            eos_id=tokenizer.end_ids, max_batch_tokens=config.max_batch_tokens,
                            progress=f"{budget} tokens")
            for row, ids in zip(cut, ends.unpadded):
                answers[row] = task.FORCED_ANSWER + tokenizer.decode(ids)
        correct.append([task.is_correct(*pair) for pair in zip(asked, answers)])
        for row, response in zip(range(0, len(asked), config.samples), kept):
            response["cuts"].append({"budget": budget, "forced": row in cut, "answer": answers[row][-200:],
                                     "correct": correct[-1][row]})
    return np.array(correct, dtype=float).reshape(-1, len(problems), config.samples), kept


def thoughts(ids: list[int], budget: int, tokenizer, end: str):
    """The first `budget` tokens of the thinking, which ends before any with a part of the text `end`."""
    marker = tokenizer.encode(end)
    if len(marker) == 1:
        return truncate_thinking(ids, budget, marker[0])
    start = tokenizer.decode(ids).find(end)
    is_past = lambda i: 0 <= start < len(tokenizer.decode(ids[: i + 1]))
    return ids[: min(budget, bisect.bisect_left(range(len(ids)), True, key=is_past))]


def truncate_thinking(ids, budget: int, end_id: int):
    """The first `budget` tokens of the thinking, which ends before the first `end_id`.

    >>> [truncate_thinking([5, 6, 7, 9, 8], budget, end_id=9) for budget in (2, 4)]
    [[5, 6], [5, 6, 7]]
    """
    ids = [*ids, end_id]
    return ids[: min(budget, ids.index(end_id))]


def write_curves(folder, curves: dict[str, np.ndarray], budgets, cuts: dict[str, list]):
    """budget_curve.csv: a row a policy and budget, with the 95% interval over problems; and cuts.jsonl."""
    header = "policy", "budget", "accuracy", "low", "high"
    rows = [dict(zip(header, (label, budget, scores.mean(), *clustered_interval(scores))))
            for label, curve in curves.items() for budget, scores in zip(budgets, curve)]
    folder.write_text("budget_curve.csv", csv_text(rows))
    shown = ({"policy": label, **row} for label, of in cuts.items() for row in of)
    folder.write_text("cuts.jsonl", json_lines(shown))


def curve_table(curves, budgets):
    """Accuracies as plain text: a line a budget, a column a policy."""
    names = [f"{budget} tokens" for budget in budgets]
    return table({label: dict(zip(names, curve.mean(axis=(1, 2)))) for label, curve in curves.items()})


def gains(curves: dict[str, np.ndarray], budgets, seed: int):
    """What the curves say: differences on the same problems, in points, with paired 95% intervals.

    Of each policy over the first, and of the last one's last budget over its others.
    """
    (first, start), *others = curves.items()
    *_, end = curves.values()
    columns = {f"{name} over {first}": (curve, start) for name, curve in others}
    columns[f"{budgets[-1]} tokens over this"] = (np.broadcast_to(end[-1], end.shape), end)
    width = max(26, *(len(name) + 2 for name in columns))
    line = ("{:>17}" + f"{{:>{width}}}" * len(columns)).format
    lines = [line("gain, in points", *columns)]
    for i, budget in enumerate(budgets):
        cells = []
        for a, b in columns.values():
            low, high = (100 * bound for bound in paired_bootstrap(a[i], b[i], seed))
            cells.append(f"{100 * (a[i] - b[i]).mean():+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append(line(f"{budget} tokens", *cells))
    return "\n".join(lines)
