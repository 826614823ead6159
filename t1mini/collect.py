r"""Collect: a model's own attempts at every problem, and the two files they are good for.

    attempts.jsonl   n responses to each problem, each checked by the verifier: the long work, so it can be resumed
    traces.jsonl     trial and error for SFT: some failed attempts, each with a critique, then one that is right,
                     merged into one chain of thought                            T1, section on initialisation
    hard.jsonl       problems for RL: those solved in at most 30% of 16 samples; the rest carry little signal
                                                                                 T1, section on data

In T1 a language model writes the critiques. Here the verifier's word is put into one of a few sentences: that an attempt
failed is known, why is not.

Run it: python -m t1mini collect --preset qwen2.5-0.5b --init Qwen2.5-0.5B-Instruct --data gsm8k/train.jsonl
"""

import json
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import SMALL_CACHE, StageConfig, UserError, setting
from t1mini.runs.machine import PRECISIONS, compute_precision
from t1mini.tasks.maths import Problem, load_problems, prompt_ids, require_tokenizer, response_text
from t1mini.penalties import is_garbled
from t1mini.rollout import generate
from t1mini.runs.folder import RunFolder, Stopped, Stopping
from t1mini.runs.tokenizer import Tokenizer
from t1mini.verifier import extract_answer, verify

DOUBTS = ("Wait, let me check this. Going through it again, {answer} does not hold up. Let me try once more.",
          "Let me verify that. Something went wrong on the way: the result should not be {answer}. I should approach it differently.",
          "Hmm, {answer}? Checking the steps against the question, they do not agree. Let me think again.")
ASSENT = "Let me check this: the steps hold, and this is what was asked for."

AT_ONCE = 32  # problems sampled together; what a run that is stopped may lose


@dataclass(frozen=True)
class CollectConfig(StageConfig):
    resume: str = setting("", "folder of an earlier collect to go on with; its own settings are used")
    init: str = setting("", "checkpoint folder of the model that makes the attempts")
    data: str = setting("", "file of problems, as t1mini.tasks.maths reads them")
    samples: int = setting(16, "attempts at each problem", low=1, high=65536)
    temperature: float = setting(1.0, "sampling temperature", low=1e-3, high=100)
    max_new_tokens: int = setting(1024, "limit of an attempt's length", low=1, high=2**20)
    max_batch_tokens: int = setting(300_000, "tokens that responses sampled at once may have, with their prompts: rows x limit", low=1, **SMALL_CACHE)
    precision: str = setting("float32", "what the model computes in", choices=PRECISIONS, gpu="bfloat16")
    at_least: float = setting(0.0, "hard problems are solved in at least this share of the attempts", low=0, high=1)
    at_most: float = setting(0.3, "hard problems are solved in at most this share of the attempts", low=0, high=1)
    too_easy: float = setting(0.9, "no trace of problems solved in more than this share of the attempts", low=0, high=1)
    failed: int = setting(2, "failed attempts in a trace, at most", low=1, high=64)
    trace_tokens: int = setting(2048, "limit of a trace's length", low=1, high=2**20)


def run(config: CollectConfig) -> None:
    problems = distinct(load_problems(config.data))
    policy, tokenizer = load_policy(config.init, config.device)
    require_tokenizer(tokenizer, config.init)
    with RunFolder.open(config, "collect") as folder:
        rows = collect(policy, tokenizer, problems, config, folder)
        traces, fates = make_traces(rows, tokenizer, config)
        hard = [row for row in rows if config.at_least <= solved(row) <= config.at_most]
        folder.write_text("traces.jsonl", lines(traces))
        folder.write_text("hard.jsonl", lines([{"problem": row["problem"], "answer": row["answer"]} for row in hard]))
    print(report(len(rows), fates, len(hard), config))


def distinct(problems: list[Problem]) -> list[Problem]:
    """Each question once, the first answer given to it."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.question, problem)
    return list(first.values())


def collect(policy, tokenizer: Tokenizer, problems: list[Problem], config: CollectConfig, folder: RunFolder) -> list[dict]:
    """Samples what attempts.jsonl does not hold yet, a batch of problems at a time, and returns all its rows."""
    path = folder.path / "attempts.jsonl"
    rows = read_finished(path, problems)
    with path.open("ab") as file, Stopping() as stop:
        for start in tqdm(range(len(rows), len(problems), AT_ONCE), desc="attempts", unit="batch"):
            batch = problems[start : start + AT_ONCE]
            rows += attempt(policy, tokenizer, batch, start, config)
            file.write(lines(rows[start:]).encode())
            file.flush()
            os.fsync(file.fileno())
            if signal := stop.due():
                raise Stopped(signal, f"stopped after {len(rows)} of {len(problems)} problems")
    return rows


def attempt(policy, tokenizer: Tokenizer, batch: list[Problem], start: int, config: CollectConfig) -> list[dict]:
    """A row a problem, with its attempts; `start` is the number of the first."""
    with compute_precision(config):
        rollouts = generate(policy, [prompt_ids(p, tokenizer) for p in batch], config.samples, **tokenizer.limits,
                            max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=config.seed,
                            prompt_indices=range(start, start + len(batch)), max_batch_tokens=config.max_batch_tokens)
    finished = rollouts.finished.tolist()

    def judged(problem: Problem, row: int) -> dict:
        text = tokenizer.decode(rollouts.ids(row))
        return {"response": text, "finished": finished[row], "correct": finished[row] and verify(text, problem.answer)}

    return [{"problem": problem.question, "answer": problem.answer,
             "attempts": [judged(problem, p * config.samples + i) for i in range(config.samples)]} for p, problem in enumerate(batch)]


def read_finished(path: Path, problems: list[Problem]) -> list[dict]:
    """The rows of an interrupted run's whole batches; what is left of a batch that was cut off is dropped from the file.

    So a batch is always sampled in the same company, and a run that was stopped ends with the rows of one that was not.
    """
    content = path.read_bytes() if path.exists() else b""
    kept = content.split(b"\n")[:-1]  # the lines that have their end
    kept = kept if len(kept) == len(problems) else kept[: len(kept) // AT_ONCE * AT_ONCE]
    if len(kept) > len(problems):
        raise UserError(f"{path} was made from other problems than --data; remove it or choose another --out")
    try:
        rows = [json.loads(line) for line in kept]
        matches = all(row["problem"] == problem.question for row, problem in zip(rows, problems))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it to begin again") from None
    if not matches:
        raise UserError(f"{path} was made from other problems than --data; remove it or choose another --out")
    if content:
        os.truncate(path, sum(len(line) + 1 for line in kept))
    return rows


def solved(row: dict) -> float:
    """The share of a problem's attempts that are right."""
    return sum(attempt["correct"] for attempt in row["attempts"]) / len(row["attempts"])


def make_traces(rows: list[dict], tokenizer: Tokenizer, config: CollectConfig) -> tuple[list[dict], Counter]:
    """Lines for SFT, and how many problems met which fate."""
    rng, traces, fates = random.Random(config.seed), [], Counter()
    for row in rows:
        response = make_trace(row, config.failed, rng)
        if solved(row) == 0:
            fate = "never solved"
        elif solved(row) > config.too_easy:
            fate = "too easy"
        elif response is None:
            fate = "no clean failure beside a clean success"
        elif len(tokenizer.encode(response)) > config.trace_tokens:
            fate = "too long"
        else:
            fate = "kept"
            traces.append({"question": row["problem"], "response": response})
        fates[fate] += 1
    return traces, fates


def make_trace(row: dict, failed: int, rng: random.Random) -> str | None:
    """Up to `failed` failed attempts with different answers, then a right one. None where one of the two is missing."""
    usable = [a for a in row["attempts"] if a["finished"] and extract_answer(a["response"]) and not is_garbled(a["response"])]
    right = list({attempt_text(a["response"]) for a in usable if a["correct"]})
    wrong = {extract_answer(a["response"]): attempt_text(a["response"]) for a in usable if not a["correct"]}
    if not right or not wrong:
        return None
    answers = rng.sample(sorted(wrong), rng.randint(1, min(failed, len(wrong))))
    critiques = [rng.choice(DOUBTS).format(answer=answer) for answer in answers]
    return response_text([*(wrong[answer] for answer in answers), rng.choice(sorted(right))], [*critiques, ASSENT], row["answer"])


def attempt_text(response: str) -> str:
    """An attempt as a part of the thinking: without tags and boxes of its own."""
    return re.sub(r"\\boxed\s*\{([^{}]*)\}", r"\1", re.sub(r"</?think>", "", response)).strip()


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def report(problems: int, fates: Counter, hard: int, config: CollectConfig) -> str:
    """What was kept and why."""
    table = [f"{'problems':44}{problems:>8}", f"{'traces.jsonl: kept':44}{fates['kept']:>8}"]
    table += [f"{'  left out: ' + fate:44}{count:>8}" for fate, count in sorted(fates.items()) if fate != "kept"]
    return "\n".join([*table, f"{f'hard.jsonl: solved in {config.at_least:.0%} to {config.at_most:.0%}':44}{hard:>8}"])
