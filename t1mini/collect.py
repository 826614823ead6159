r"""Collect: a model's own attempts at every problem, and the two files they are good for.

    attempts.jsonl   n responses to each problem, each checked by the verifier; sampled a batch of problems at
                     a time, which --resume finds in attempts/, one whole file a batch
    traces.jsonl     trial and error for SFT: some failed attempts, each with a critique, then one that is
                     right, merged into one chain of thought                     T1, section on initialisation
    hard.jsonl       problems for RL: those solved in at most 30% of 16 samples; the rest carry little signal
                                                                                 T1, section on data

In T1 a language model writes the critiques. Here the verifier's word is put into one of a few sentences: that
an attempt failed is known, why is not.

Run it: python -m t1mini collect --preset qwen2.5-0.5b --init Qwen2.5-0.5B-Instruct --data gsm8k/train.jsonl
"""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass

from tqdm import tqdm

from t1mini.fast import twins
from t1mini.penalties import is_garbled
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, Stopped, Stopping, write_text
from t1mini.runs.jsonl import read_rows
from t1mini.runs.settings import PRECISIONS, SMALL_CACHE, StageConfig, UserError, setting
from t1mini.runs.tokenizer import Tokenizer
from t1mini.sampler import Sampling
from t1mini.tasks import maths
from t1mini.tasks.maths import Problem
from t1mini.verifier import extract_answer, verify

DOUBTS = ("Wait, let me check this. Going through it again, {answer} does not hold up. Let me try once more.",
          "Let me verify that. Something went wrong on the way: the result should not be {answer}. "
          "I should approach it differently.",
          "Hmm, {answer}? Checking the steps against the question, they do not agree. Let me think again.")
ASSENT = "Let me check this: the steps hold, and this is what was asked for."

BATCH = 32  # problems sampled together: what a run that is stopped may lose


@dataclass(frozen=True)
class CollectConfig(StageConfig):
    resume: str = setting("", "folder of an earlier collect to go on with; its own settings are used")
    init: str = setting("", "checkpoint folder of the model that makes the attempts")
    data: str = setting("", "file of problems, as t1mini.tasks.maths reads them")
    samples: int = setting(16, "attempts at each problem", "1 to 65_536")
    temperature: float = setting(1.0, "sampling temperature", "0.001 to 100")
    max_new_tokens: int = setting(1024, "limit of an attempt's length", "1 to 1_048_576")
    max_batch_tokens: int = setting(300_000, "tokens that responses sampled at once may have, with their "
                                    "prompts: rows x limit", "1 or more", **SMALL_CACHE)
    precision: str = setting("float32", "what the model computes in", choices=PRECISIONS, gpu="bfloat16")
    plain: bool = setting(False, "the plain twin of generate, for reading along")
    at_least: float = setting(0.0, "hard problems: least share of attempts that solve one", "0 to 1")
    at_most: float = setting(0.3, "hard problems: largest share of attempts that solve one", "0 to 1")
    too_easy: float = setting(0.9, "no trace of problems that more than this share solves", "0 to 1")
    failed: int = setting(2, "failed attempts in a trace, at most", "1 to 64")
    trace_tokens: int = setting(2048, "limit of a trace's length", "1 to 1_048_576")


def run(config: CollectConfig):
    by_question = {problem.question: problem for problem in maths.load_problems(config.data)}  # each once
    problems = list(by_question.values())
    policy, tokenizer = load_policy(config.init, config.device)
    maths.require_tokenizer(tokenizer, config.init)
    with RunFolder(config, "collect") as folder:
        rows = collect(policy, tokenizer, problems, config, folder)
        traces, outcomes = make_traces(rows, tokenizer, config)
        hard = [{"problem": row["problem"], "answer": row["answer"]}
                for row in rows if config.at_least <= solved(row) <= config.at_most]
        folder.write_text("traces.jsonl", lines(traces))
        folder.write_text("hard.jsonl", lines(hard))
    print(report(len(rows), outcomes, len(hard), config))


def collect(policy, tokenizer: Tokenizer, problems: list[Problem], config: CollectConfig,
            folder: RunFolder) -> list[dict]:
    """A row a problem, with its attempts: those of an earlier sitting, and the others, sampled now."""
    rows = []
    (folder.path / "attempts").mkdir(exist_ok=True)
    with Stopping() as stop:
        for start in tqdm(range(0, len(problems), BATCH), desc="attempts", unit="batch"):
            batch, path = problems[start : start + BATCH], folder.path / f"attempts/{start:06}.jsonl"
            if not path.exists():
                write_text(path, lines(attempt(policy, tokenizer, batch, start, config)))
            rows += [row for _, row in read_rows(path, "attempts")]
            if [row.get("problem") for row in rows[start:]] != [problem.question for problem in batch]:
                raise UserError(f"{path} was made from other problems than --data; choose another --out")
            if stop.number:
                raise Stopped(stop.number, f"stopped after {len(rows)} of {len(problems)} problems")
    folder.write_text("attempts.jsonl", lines(rows))
    return rows


def attempt(policy, tokenizer: Tokenizer, batch: list[Problem], start: int,
            config: CollectConfig) -> list[dict]:
    """A row a problem, with its attempts; `start` is the number of the first."""
    generate, _ = twins(config)
    rollouts = generate(policy, [maths.prompt_ids(problem, tokenizer) for problem in batch], config.samples,
                        Sampling(config.temperature, vocab_limit=tokenizer.size),
                        max_new_tokens=config.max_new_tokens, eos_id=tokenizer.eos_id, seed=config.seed,
                        prompt_indices=range(start, start + len(batch)),
                        max_batch_tokens=config.max_batch_tokens)
    rows = [{"problem": problem.question, "answer": problem.answer, "attempts": []} for problem in batch]
    for i, finished in enumerate(rollouts.finished.tolist()):
        row, text = rows[i // config.samples], tokenizer.decode(rollouts.ids(i))
        correct = finished and verify(text, row["answer"])
        row["attempts"].append({"response": text, "finished": finished, "correct": correct})
    return rows


def solved(row: dict) -> float:
    """The share of a problem's attempts that are right."""
    return sum(attempt["correct"] for attempt in row["attempts"]) / len(row["attempts"])


def make_traces(rows: list[dict], tokenizer: Tokenizer, config: CollectConfig) -> tuple[list[dict], Counter]:
    """Lines for SFT, and how many problems came to which outcome."""
    rng, traces, outcomes = random.Random(config.seed), [], Counter()
    for row in rows:
        response = make_trace(row, config.failed, rng)
        if solved(row) == 0:
            outcome = "never solved"
        elif solved(row) > config.too_easy:
            outcome = "too easy"
        elif response is None:
            outcome = "no clean failure beside a clean success"
        elif len(tokenizer.encode(response)) > config.trace_tokens:
            outcome = "too long"
        else:
            outcome = "kept"
            traces.append({"question": row["problem"], "response": response})
        outcomes[outcome] += 1
    return traces, outcomes


def make_trace(row: dict, failed: int, rng: random.Random) -> str | None:
    """Up to `failed` failed attempts with different answers, then a right one. None without either."""
    right, wrong = set(), {}
    for attempt in row["attempts"]:
        text = attempt["response"]
        answer = extract_answer(text)
        if not answer or not attempt["finished"] or is_garbled(text):
            continue
        if attempt["correct"]:
            right.add(attempt_text(text))
        else:
            wrong[answer] = attempt_text(text)
    if not right or not wrong:
        return None
    answers = rng.sample(sorted(wrong), rng.randint(1, min(failed, len(wrong))))
    doubts = [rng.choice(DOUBTS).format(answer=answer) for answer in answers]
    attempts = [*(wrong[answer] for answer in answers), rng.choice(sorted(right))]
    return maths.response_text(attempts, [*doubts, ASSENT], row["answer"])


def attempt_text(response: str) -> str:
    """An attempt as a part of the thinking: without tags and boxes of its own."""
    return re.sub(r"\\boxed\s*\{([^{}]*)\}", r"\1", re.sub(r"</?think>", "", response)).strip()


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def report(problems: int, outcomes: Counter, hard: int, config: CollectConfig) -> str:
    """What was kept and why."""
    table = {"problems": problems, "traces.jsonl: kept": outcomes["kept"]}
    table |= {f"  left out: {outcome}": count
              for outcome, count in sorted(outcomes.items()) if outcome != "kept"}
    table[f"hard.jsonl: solved in {config.at_least:.0%} to {config.at_most:.0%}"] = hard
    return "\n".join(f"{what:44}{count:>8}" for what, count in table.items())
