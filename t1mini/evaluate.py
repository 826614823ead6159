"""Evaluation: how often a policy is right on problems it never saw, and how it gets there.

n responses are sampled to each problem, at temperature 1 unless told otherwise (greedy decoding of a small searcher loops
on one attempt). From them: pass@1, pass@k, majority@k, each with a 95% interval that treats the problem, not the sample,
as the unit of evidence; what the responses look like; and two yardsticks for the search itself:

    hits an attempt   the share of attempts that reach the target: does the policy guess well?
    blind search      a search that draws valid chains at random and never repeats one, given as many attempts as make it
                      try, on average, exactly as often as the policy did (it stops at a hit, as the policy should)

Run it: python -m t1mini evaluate --init data/tiny-rl
"""

import random
from dataclasses import dataclass

import numpy as np

from t1mini import countdown
from t1mini.checkpoint import load_policy
from t1mini.config import StageConfig, UserError, default_out, setting
from t1mini.countdown import Problem
from t1mini.model import Qwen
from t1mini.reward import Verdict, judge_rollouts
from t1mini.rollout import Rollouts, generate
from t1mini.run_folder import RunFolder
from t1mini.statistics import clustered_interval, majority_at_k, pass_at_k
from t1mini.tokenizer import Tokenizer


@dataclass(frozen=True)
class EvaluateConfig(StageConfig):
    init: str = setting("data/tiny-rl", "checkpoint folder to evaluate")
    data: str = setting("data", "folder of the problems, written by the data stage")
    split: str = setting("test", "which problems", choices=countdown.SPLITS)
    problems: int = setting(0, "how many of them, drawn at random; 0 means all", low=0)
    samples: int = setting(4, "responses to each", low=1, high=65536)
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", low=0, high=100)
    max_new_tokens: int = setting(192, "limit of a response's length", low=1, high=2**20)
    repeat_limit: int = setting(4, "times an attempt may occur before the response is repetitive", low=1)
    batch_rows: int = setting(1024, "responses sampled at once", low=1, gpu=4096)


def run(config: EvaluateConfig) -> None:
    problems = pick_problems(config)
    policy, tokenizer = load_policy(config.init, config.device)
    tokenizer.require_countdown(config.init)
    folder = RunFolder(default_out(config, "evaluate"), config)
    rollouts = sample_responses(policy, tokenizer, problems, config)
    verdicts = judge_rollouts(problems, rollouts, tokenizer, max_new_tokens=config.max_new_tokens,
                              repeat_limit=config.repeat_limit)
    results = summarise(problems, verdicts)
    folder.write_json("evaluation.json", results)
    for problem, group in zip(problems, verdicts):
        for v in group:
            folder.append_text("responses.txt", f"[{v.reward:+.0f}] {countdown.prompt_text(problem)} {v.text}")
    print(table({config.init: results}))


def pick_problems(config: EvaluateConfig) -> list[Problem]:
    problems = countdown.load_problems(f"{config.data}/{config.split}.jsonl")
    wanted = config.problems or len(problems)
    if min(wanted, len(problems)) < 2:
        raise UserError("--problems 1: an interval over problems needs at least 2 of them")
    return problems if wanted >= len(problems) else random.Random(config.seed).sample(problems, wanted)


def sample_responses(policy: Qwen, tokenizer: Tokenizer, problems: list[Problem], config: EvaluateConfig) -> Rollouts:
    """`samples` responses to each problem, prompt-major."""
    prompts = [tokenizer.encode(countdown.prompt_text(p)) for p in problems]
    return generate(policy, prompts, config.samples, seed=config.seed, max_new_tokens=config.max_new_tokens,
                    temperature=config.temperature, **tokenizer.limits, batch_rows=config.batch_rows, progress="responses")


def summarise(problems: list[Problem], verdicts: list[list[Verdict]]) -> dict:
    """Every figure of an evaluation, shares between 0 and 1; see the file header."""
    correct = np.array([[v.correct for v in group] for group in verdicts], dtype=float)  # [problems, samples]
    n = correct.shape[1]
    flat = [v for group in verdicts for v in group]
    mean = lambda name: float(np.mean([getattr(v, name) for v in flat]))
    at_k = [pass_at_k(n, int(c), n) for c in correct.sum(axis=1)]
    majority = [_majority_is_correct(problem, group) for problem, group in zip(problems, verdicts)]
    return {
        "problems": len(problems), "samples": n,
        "pass@1": float(correct.mean()), "interval": clustered_interval(correct),
        f"pass@{n}": float(np.mean(at_k)), f"pass@{n} interval": clustered_interval(np.array(at_k)[:, None]),
        f"majority@{n}": float(np.mean(majority)), f"majority@{n} interval": clustered_interval(np.array(majority)[:, None]),
        **{name: mean(name) for name in ("length", "repetitive", "overlong", "garbled", "attempts")},
        "hits_per_attempt": sum(v.hits for v in flat) / max(1, sum(v.attempts for v in flat)),
        "blind_search": blind_search(problems, mean("attempts")),
    }


def blind_search(problems: list[Problem], attempts: float) -> float:
    """Accuracy of the blind, never repeating search that makes `attempts` attempts a problem on average.

    Allowed n attempts it makes sum_{i<n} P(no hit in i) of them; n is interpolated to meet `attempts`.
    """
    used = accuracy = 0.0
    for n in range(1, 1000):
        more_used = used + 1 - accuracy
        more_accuracy = float(np.mean([countdown.blind_success(p, n) for p in problems]))
        if more_used >= attempts or more_accuracy == 1:
            share = min(1.0, (attempts - used) / (more_used - used))
            return accuracy + share * (more_accuracy - accuracy)
        used, accuracy = more_used, more_accuracy
    return accuracy


def table(results: dict[str, dict]) -> str:
    """Evaluations side by side as plain text."""
    names = [name for name in next(iter(results.values())) if "interval" not in name]
    width = max(17, *(len(label) + 2 for label in results))
    lines = [" " * 20 + "".join(f"{label:>{width}}" for label in results)]
    lines += [f"{name:20}" + "".join(f"{_show(name, r[name]):>{width}}" for r in results.values()) for name in names]
    intervals = ["{:.1%} - {:.1%}".format(*r["interval"]) for r in results.values()]
    lines.insert(4, f"{'  95% interval':20}" + "".join(f"{interval:>{width}}" for interval in intervals))
    return "\n".join(lines)


def _majority_is_correct(problem: Problem, group: list[Verdict]) -> bool:
    answers = [countdown.final_answer(v.text) if not v.overlong else None for v in group]
    winner = majority_at_k(answers, len(answers))
    return winner is not None and countdown.is_correct(problem, f"{countdown.ANSWER} {winner}")


def _show(name: str, value: float) -> str:
    if name in ("problems", "samples"):
        return str(value)
    return f"{value:.1f}" if name in ("length", "attempts") else f"{value:.1%}"
