r"""Collect: a model's own attempts at every problem, and the files they are good for.

    attempts/        n responses to each problem, each judged as t1mini.evaluate does it; one whole file a
                     batch of problems, so that --resume finds what has been sampled
    traces.jsonl     trial and error for SFT: some failed attempts, each with a critique, then one that is
                     right, merged into one chain of thought                     T1, section on initialisation
    clean.jsonl      a right attempt at each of the same problems, as it is, to compare with (findings, F9)
    hard.jsonl       problems for RL: those solved in at most 30% of 16 samples; the rest carry little signal
                                                                                 T1, section on data

In T1 a language model writes the critiques. Here they say what can be known: t1mini.tasks.critiques.

Run it: python -m t1mini collect --preset qwen2.5-0.5b --init Qwen2.5-0.5B-Instruct --data gsm8k/train.jsonl
"""

import random
import sys
from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from tqdm import tqdm

from t1mini.evaluate import EvaluateConfig, pick_problems, respond, responses
from t1mini.penalties import PATTERNS
from t1mini.runs.folder import RunFolder, json_lines, write_text
from t1mini.runs.jsonl import read_rows
from t1mini.runs.settings import UserError, setting
from t1mini.tasks import maths, policy_for
from t1mini.tasks.critiques import ASSENT, critique
from t1mini.verifier import answers_equal, extract_answer

BATCH = 32  # problems sampled together: what a run that is stopped may lose
# no trace of problems that more than this share of the attempts solves: it would doubt what goes well
TOO_EASY = 0.9


@dataclass(frozen=True)
class CollectConfig(EvaluateConfig):
    resume: str = setting("", "folder of an earlier collect to go on with; its own settings are used")
    task: str = setting("math", "what the problems are", choices=("math",))
    data: str = setting("", "file of problems, or folder of train.jsonl")
    split: str = setting("train", "which problems of a folder", choices=("train",))
    samples: int = setting(16, "attempts at each problem", "1 to 65_536", smollm=8)
    at_least: float = setting(0.0, "hard problems: least share of attempts that solve one", "0 to 1",
                              smollm=0.05)
    at_most: float = setting(0.3, "hard problems: largest share of attempts that solve one", "0 to 1",
                             smollm=0.7)
    failed: int = setting(2, "failed attempts in a trace, at most", "1 to 64", smollm=1)
    at_once: float = setting(0.0, "share of the traces whose first attempt is right", "0 to 1", smollm=0.4)
    trace_tokens: int = setting(2048, "limit of a trace's length", "1 to 1_048_576", smollm=192)


def run(config: CollectConfig):
    # each question once
    problems = list({problem.question: problem for problem in pick_problems(config, least=1)}.values())
    policy, tokenizer = policy_for(config, config.init, problems)
    with RunFolder(config, "collect") as folder:
        groups = collect(policy, tokenizer, problems, config, folder)
        traces, clean, left_out = make_traces(groups, tokenizer, config)
        hard = [problem._asdict() for problem, group in zip(problems, groups)
                if config.at_least <= solved(group) <= config.at_most]
        folder.write_text("traces.jsonl", json_lines(traces))
        folder.write_text("clean.jsonl", json_lines(clean))
        folder.write_text("hard.jsonl", json_lines(hard))
    table = {"problems": len(problems), "traces.jsonl: kept": len(traces), **left_out,
             f"hard.jsonl: solved in {config.at_least:.0%} to {config.at_most:.0%}": len(hard)}
    print("\n".join(f"{what:44}{count:>8}" for what, count in table.items()))
    if not traces:
        print("t1mini: traces.jsonl is empty: no problem was solved, or none both solved and missed as a "
              "trace takes it; try more --samples, a larger --max-new-tokens, other --data or --init",
              file=sys.stderr)


def collect(policy, tokenizer, problems, config, folder):
    """The attempts at each problem: those of an earlier sitting, and the others, made now."""
    groups = []
    (folder.path / "attempts").mkdir(exist_ok=True)
    for start in tqdm(range(0, len(problems), BATCH), "attempts", unit="batch", disable=None):
        batch, path = problems[start : start + BATCH], folder.path / f"attempts/{start:06}.jsonl"
        if not path.exists():
            _, verdicts = respond(policy, tokenizer, batch, config, range(start, start + len(batch)))
            write_text(path, json_lines(responses(batch, verdicts)))
        rows = read_rows(path, "attempts")
        if len(rows) != len(batch) * config.samples:
            raise UserError(f"{path}: not all its lines are there; remove it, and it is made again")
        groups += [rows[i : i + config.samples] for i in range(0, len(rows), config.samples)]
    return groups


def solved(group):
    """The share of a problem's attempts that are right."""
    return fmean(attempt["correct"] for attempt in group)


def clean_of(group):
    """The attempts that RL would not penalise."""
    return [attempt for attempt in group if not any(map(attempt.get, PATTERNS))]


def make_traces(groups: list[list[dict]], tokenizer, config):
    """Lines for SFT, those of clean.jsonl beside them, and how many problems were left out, by why."""
    rng, traces, clean, left_out = random.Random(config.seed), [], [], Counter()
    for group in groups:
        response = make_trace(group, config.failed, rng, config.at_once)
        reasons = {"never solved": not solved(group), "too easy": solved(group) > TOO_EASY,
                   "no clean failure beside a clean success": not response,
                   "too long": len(tokenizer.encode(response)) > config.trace_tokens}
        for reason, holds in reasons.items():
            if holds:
                left_out["  left out: " + reason] += 1
                break
        else:
            right = next(attempt["text"] for attempt in clean_of(group) if attempt["correct"])
            for lines, text in ((traces, response), (clean, right)):
                lines.append({"question": group[0]["question"], "response": text})
    return traces, clean, left_out


def make_trace(group: list[dict], failed: int, rng, at_once: float = 0.0):
    """Up to `failed` failed attempts with different answers, then a right one; "" without either.

    With the chance `at_once` the right one stands alone, checked: not every first attempt is to be doubted.
    """
    clean, gold = clean_of(group), group[0]["answer"]
    right = {maths.without_tags(attempt["text"]) for attempt in clean if attempt["correct"]}
    # without an answer there is nothing to doubt, and 17*23 for 391 is no mistake, only not worked out
    wrong = {answer: maths.without_tags(attempt["text"]) for attempt in clean
             if (answer := extract_answer(attempt["text"])) and not answers_equal(answer, gold)}
    if not right or not wrong:
        return ""
    number = 0 if rng.random() < at_once else rng.randint(1, min(failed, len(wrong)))
    answers = rng.sample(sorted(wrong), number)
    doubts = [critique(wrong[answer], answer, rng) for answer in answers]
    attempts = [*map(wrong.get, answers), rng.choice(sorted(right))]
    return maths.response_text(attempts, [*doubts, ASSENT], gold)
