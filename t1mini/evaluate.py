"""Evaluation: how often a policy is right on problems it never saw, and how it gets there.

n responses are sampled to each problem, at temperature 1 unless told otherwise (greedy decoding of a small
searcher loops on one attempt). From them: pass@1, pass@n, majority@n, each with a 95% interval that treats
the problem, not the sample, as the unit of evidence (the table prints that of pass@1, evaluation.json has
all); what the responses look like; and, for Countdown, two yardsticks of the search itself:

    hits an attempt   the share of attempts that reach the target: does the policy guess well?
    blind search      a search that draws valid chains at random and never repeats one, given as many attempts
                      as make it try, on average, as often as the policy did (it stops at a hit, as it should)

Run it: python -m t1mini evaluate --init data/tiny-rl
"""

import dataclasses
import json
import random
from dataclasses import dataclass

import numpy as np

from t1mini.fast import twins
from t1mini.model import Qwen
from t1mini.penalties import Verdict, judge_rollouts
from t1mini.rollout import Rollouts
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder
from t1mini.runs.settings import PRECISIONS, SMALL_CACHE, StageConfig, UserError, setting
from t1mini.runs.tokenizer import Tokenizer
from t1mini.sampler import Sampling
from t1mini.statistics import clustered_interval, majority_at_k, pass_at_k
from t1mini.tasks import TASKS, load_problems
from t1mini.tasks.countdown import SPLITS


@dataclass(frozen=True)
class EvaluateConfig(StageConfig):
    task: str = setting("countdown", "what the problems are", choices=tuple(TASKS), qwen="math")
    init: str = setting("data/tiny-rl", "checkpoint folder to evaluate", qwen="")
    data: str = setting("data", "file of problems, or folder of SPLIT.jsonl", qwen="")
    split: str = setting("test", "which problems of a folder", choices=SPLITS)
    problems: int = setting(0, "how many of them, drawn at random; 0 means all", "0 or more")
    samples: int = setting(4, "responses to each", "1 to 65_536")
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", "0, or 0.001 to 100")
    top_k: int = setting(0, "sample from the k likeliest tokens only; 0 means all", "0 or more")
    top_p: float = setting(1.0, "sample from the likeliest tokens that hold this mass", "above 0, to 1")
    min_p: float = setting(0.0, "sample only tokens with p >= min_p * the largest p", "0 to 1")
    max_new_tokens: int = setting(192, "limit of a response's length", "1 to 1_048_576", qwen=1024)
    repeat_limit: int = setting(4, "times an attempt, or a run of 20 tokens, may occur in a response",
                                "1 or more")
    max_batch_tokens: int = setting(200_000, "tokens of all rows sampled at once, up to their limit",
                                    "1 or more", gpu=800_000, qwen=300_000, **SMALL_CACHE)
    precision: str = setting("float32", "what the model computes in; weights stay float32",
                             choices=PRECISIONS, gpu="bfloat16")
    plain: bool = setting(False, "the plain twin of generate, for reading along")

    def sampling(self, vocab_limit: int) -> Sampling:
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p, vocab_limit)


def run(config: EvaluateConfig):
    problems = pick_problems(config)
    policy, tokenizer = load_policy(config.init, config.device)
    TASKS[config.task].require_tokenizer(tokenizer, config.init)
    with RunFolder(config, "evaluate") as folder:
        _, verdicts = respond(policy, tokenizer, problems, config)
        results = summarise(TASKS[config.task], problems, verdicts)
        rows = [{**problem._asdict(), **dataclasses.asdict(verdict), "reward": verdict.reward}
                for problem, group in zip(problems, verdicts) for verdict in group]
        folder.write_text("responses.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        folder.write_results("evaluation.json", results)
    print(table({config.init: results}))


def pick_problems(config: EvaluateConfig) -> list:
    """The problems to evaluate on. UserError for fewer than the two that an interval needs."""
    problems = load_problems(config.task, config.data, config.split)
    wanted = config.problems or len(problems)
    if min(wanted, len(problems)) < 2:
        raise UserError(f"--problems {config.problems} of the {len(problems)} in {config.data}: "
                        "an interval needs at least 2")
    return problems if wanted >= len(problems) else random.Random(config.seed).sample(problems, wanted)


def respond(policy: Qwen, tokenizer: Tokenizer, problems: list,
            config: EvaluateConfig) -> tuple[Rollouts, list[list[Verdict]]]:
    """`samples` responses to each problem, prompt-major, and what they are worth [problems][samples]."""
    task, (generate, _) = TASKS[config.task], twins(config)
    prompts = [task.prompt_ids(problem, tokenizer) for problem in problems]
    rollouts = generate(policy, prompts, config.samples, config.sampling(tokenizer.size), seed=config.seed,
                        max_new_tokens=config.max_new_tokens, eos_id=tokenizer.eos_id,
                        max_batch_tokens=config.max_batch_tokens, progress="responses")
    return rollouts, judge_rollouts(task, problems, rollouts, tokenizer, max_new_tokens=config.max_new_tokens,
                                    repeat_limit=config.repeat_limit)


def summarise(task, problems: list, verdicts: list[list[Verdict]]) -> dict:
    """Every figure of an evaluation (see the header): tokens or attempts a response, or shares."""
    correct = np.array([[v.correct for v in group] for group in verdicts], dtype=float)  # [problems, samples]
    n = correct.shape[1]
    flat = [v for group in verdicts for v in group]
    mean = lambda name: float(np.mean([getattr(v, name) for v in flat]))
    at_k = [pass_at_k(n, int(c), n) for c in correct.sum(axis=1)]
    majority = [_majority_is_correct(task, problem, group) for problem, group in zip(problems, verdicts)]
    return {
        "problems": len(problems), "samples": n,
        "pass@1": float(correct.mean()), "interval": clustered_interval(correct),
        f"pass@{n}": float(np.mean(at_k)), f"pass@{n} interval": clustered_interval(np.array(at_k)[:, None]),
        f"majority@{n}": float(np.mean(majority)),
        f"majority@{n} interval": clustered_interval(np.array(majority)[:, None]),
        **{name: mean(name) for name in ("length", "repetitive", "overlong", "garbled", "attempts")},
        "hits_per_attempt": sum(v.hits for v in flat) / max(1, sum(v.attempts for v in flat)),
        **task.yardsticks(problems, mean("attempts")),
    }


def table(results: dict[str, dict]) -> str:
    """Evaluations side by side as plain text."""
    names = [name for name in next(iter(results.values())) if "interval" not in name]
    width = max(17, *(len(label) + 2 for label in results))
    lines = [" " * 20 + "".join(f"{label:>{width}}" for label in results)]
    for name in names:
        lines.append(f"{name:20}" + "".join(f"{_show(name, r[name]):>{width}}" for r in results.values()))
    intervals = ["{:.1%} - {:.1%}".format(*r["interval"]) for r in results.values()]
    lines.insert(4, f"{'  95% interval':20}" + "".join(f"{interval:>{width}}" for interval in intervals))
    return "\n".join(lines)


def _majority_is_correct(task, problem, group: list[Verdict]) -> bool:
    answers = [task.final_answer(v.text) if not v.overlong else None for v in group]
    winner = majority_at_k(answers, len(answers))
    return winner is not None and task.vote_is_correct(problem, winner)


def _show(name: str, value: float) -> str:
    if name in ("problems", "samples"):
        return str(value)
    return f"{value:.1f}" if name in ("length", "attempts") else f"{value:.1%}"
