"""Evaluation: how often a policy is right on problems it never saw, and how it gets there.

n responses are sampled to each problem, at temperature 1 unless told otherwise (greedy decoding of a small
searcher loops on one attempt). From them: pass@1, pass@n, majority@n (of the answers given: to give up is
no vote), each with a 95% interval that treats the problem, not the sample, as the unit of evidence (the table
prints that of pass@1, evaluation.json has all); what the responses look like; and, for Countdown, two
yardsticks of the search itself:

    hits an attempt   the share of attempts that reach the target: does the policy guess well?
    blind search      a search that draws valid chains at random and never repeats one, given as many attempts
                      as make it try, on average, as often as the policy did (it stops at a hit, as it should)

RL looks at problems held out while it trains, one response each (`HeldOut`): eval.csv.

Run it: python -m t1mini evaluate --init data/tiny-rl
"""

import os
import random
from dataclasses import dataclass

import numpy as np
import torch

from t1mini.fast import twins
from t1mini.penalties import Verdict, judge_rollouts
from t1mini.runs.folder import RunFolder, json_lines
from t1mini.runs.settings import PRECISIONS, SMALL_CACHE, StageConfig, UserError, setting
from t1mini.sampler import Sampling
from t1mini.statistics import clustered_interval, majority_at_k, pass_at_k, wilson_interval
from t1mini.tasks import TASKS, file_of, load_problems, policy_for
from t1mini.tasks.countdown import SPLITS

FORMATS = {"problems": "{}", "samples": "{}", "interval": "{0[0]:.1%} - {0[1]:.1%}",
           "length": "{:.1f}", "attempts": "{:.1f}"}  # others are shares


@dataclass(frozen=True)
class EvaluateConfig(StageConfig):
    task: str = setting("countdown", "countdown, math, or the file of your own", qwen="math")
    init: str = setting("data/tiny-rl", "checkpoint folder to evaluate", qwen="")
    data: str = setting("data", "file of problems, or folder of SPLIT.jsonl", qwen="")
    split: str = setting("test", "which problems of a folder", choices=SPLITS)
    problems: int = setting(0, "how many of them, drawn at random; 0 means all", "0 or more")
    samples: int = setting(4, "responses to each", "1 to 65_536")
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", "0, or 0.001 to 100")
    top_k: int = setting(0, "sample from the k likeliest tokens only; 0 means all", "0 or more")
    top_p: float = setting(1.0, "sample from the likeliest tokens that hold this mass", "above 0, to 1")
    min_p: float = setting(0.0, "sample only tokens with p >= min_p * the largest p", "0 to 1")
    max_new_tokens: int = setting(192, "limit of a response's length", "1 to 1_048_576", qwen=1024,
                                  smollm=160)
    repeat_limit: int = setting(4, "times an attempt, or a run of 20 tokens, may occur", "1 or more")
    max_batch_tokens: int = setting(200_000, "tokens of all rows sampled at once, up to their limit",
                                    "1 or more", gpu=800_000, qwen=300_000, smollm=50_000,
                                    **SMALL_CACHE)
    precision: str = setting("float32", "what the model computes in; weights stay float32",
                             choices=PRECISIONS, gpu="bfloat16")
    plain: bool = setting(False, "the plain twin of generate, for reading along")

    def sampling(self, vocab_limit):
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p, vocab_limit)


def run(config: EvaluateConfig):
    problems = pick_problems(config)
    policy = policy_for(config, config.init, problems)
    with RunFolder(config, "evaluate") as folder:
        _, verdicts = respond(*policy, problems, config)
        results = summarise(TASKS[config.task], problems, verdicts)
        folder.write_text("responses.jsonl", json_lines(responses(problems, verdicts)))
        folder.write_results("evaluation.json", results)
    print(table({config.init: results}))
    print(f"wrote {folder.path}/evaluation.json and responses.jsonl")


def pick_problems(config, least=2):
    """The problems of --data, --split and --problems. UserError for fewer than the two an interval needs."""
    problems = load_problems(config.task, config.data, config.split)
    if 0 < config.problems < len(problems):
        problems = random.Random(config.seed).sample(problems, config.problems)
    if len(problems) < least:
        raise UserError(f"{config.data} and --problems {config.problems} leave {len(problems)} problem(s): "
                        f"an interval needs at least {least}")
    return problems


def respond(policy, tokenizer, problems: list, config: EvaluateConfig, indices=None, progress="responses"):
    """Rollouts of `samples` responses to each problem, and the verdicts on them [problems][samples].

    `indices` name the problems for the noise (default: 0, 1, ...); `progress` names the bar, "" shows none.
    """
    task, (generate, _) = TASKS[config.task], twins(config)
    prompts = [task.prompt_ids(problem, tokenizer) for problem in problems]
    rollouts = generate(policy, prompts, config.samples, config.sampling(tokenizer.size), seed=config.seed,
                        max_new_tokens=config.max_new_tokens, eos_id=tokenizer.end_ids,
                        prompt_indices=indices, max_batch_tokens=config.max_batch_tokens, progress=progress)
    verdicts = judge_rollouts(task, problems, rollouts, tokenizer, max_new_tokens=config.max_new_tokens,
                              repeat_limit=config.repeat_limit)
    return rollouts, verdicts


class HeldOut:
    """Problems kept out of training, which RL looks at every --eval-every updates: one response to each at
    temperature 1, with the same noise every time. A look is a row of eval.csv. At each checkpoint a few of
    them are kept whole, for `python -m t1mini view`: thinking.jsonl.
    """

    def __init__(self, config):
        """`config` is RL's. UserError where its problems are missing."""
        self.every, self.keep_every, self.steps = config.eval_every, config.checkpoint_every, config.steps
        self.problems, self.shown = [], {}
        source = config.eval_data or (config.data if os.path.isdir(config.data) else "")
        if (self.every or config.eval_data) and not os.path.exists(source):
            raise UserError("--eval-every needs --eval-data, a file of problems that are not trained on; "
                            f"there is none at {source!r}")
        if self.every or config.read_problems and os.path.exists(file_of(source, "validation")):
            kept = {name: value for name, value in vars(config).items() if hasattr(EvaluateConfig, name)}
            kept |= {"data": source, "split": "validation", "samples": 1,
                     "problems": config.eval_problems, "temperature": 1.0, "min_p": 0.0, "out": ""}
            self.config = EvaluateConfig(**kept)
            self.problems = pick_problems(self.config, least=1)
        self.read = self.problems[: config.read_problems]

    def look(self, step: int, policy, tokenizer, state):
        """After `step` updates, where it is time."""
        is_time = lambda every: not step % every or step == self.steps
        if self.every and is_time(self.every):
            self.measure(step, policy, tokenizer, state)
        if self.read and state.folder and is_time(self.keep_every):
            _, verdicts = respond(policy, tokenizer, self.read, self.config, progress="")
            prompt = TASKS[self.config.task].prompt_text
            state.folder.append("thinking.jsonl", json_lines(
                {"step": step, "prompt": prompt(problem), **row}
                for problem, row in zip(self.read, responses(self.read, verdicts))))

    def measure(self, step: int, policy, tokenizer, state):
        """A row of eval.csv. Each rank answers its share."""
        mine = state.team.share(range(len(self.problems)))
        names = "correct", "length", "repetitive", "overlong", "garbled"
        total = torch.zeros(len(names), dtype=torch.float64, device=policy.device)
        if mine:
            _, verdicts = respond(policy, tokenizer, [self.problems[i] for i in mine], self.config, mine, "")
            for (verdict,) in verdicts:
                total += total.new_tensor([getattr(verdict, name) for name in names])
        correct, *others = state.team.sum(total).tolist()
        n = len(self.problems)
        row = {"step": step, "problems": n, "accuracy": correct / n}
        row |= zip(("low", "high"), wilson_interval(round(correct), n))
        row |= {name: value / n for name, value in zip(names[1:], others)}
        self.shown = {"held out": f"{row['accuracy']:.2f}"}
        if state.folder:
            state.folder.append_row("eval.csv", row)


def responses(problems, verdicts):
    """A row a response: its problem and its verdict."""
    for problem, group in zip(problems, verdicts):
        for verdict in group:
            yield {**problem._asdict(), **vars(verdict), "reward": verdict.reward()}


def summarise(task, problems: list, verdicts: list[list[Verdict]]):
    """Every figure of an evaluation (see the header): tokens or attempts a response, or shares."""
    flat, n = sum(verdicts, []), len(verdicts[0])
    total = lambda name: sum(getattr(verdict, name) for verdict in flat)
    correct = [[verdict.correct for verdict in group] for group in verdicts]  # [problems, samples]
    scores = {
        "pass@1": correct,
        f"pass@{n}": [[pass_at_k(n, sum(group), n)] for group in correct],
        f"majority@{n}": [[majority_is_correct(task, group)] for group in verdicts],
    }
    results = {"problems": len(problems), "samples": n}
    for name, score in scores.items():
        results[name] = float(np.mean(score))
        results["interval" if name == "pass@1" else f"{name} interval"] = clustered_interval(score)
    for name in ("length", "repetitive", "overlong", "garbled", "attempts"):
        results[name] = total(name) / len(flat)
    results["hits_per_attempt"] = total("hits") / max(1, total("attempts"))
    if hasattr(task, "blind_search"):
        results["blind_search"] = task.blind_search(problems, results["attempts"])
    return results


def majority_is_correct(task, group):
    """Whether the commonest answer is right; what gives none, gives up or has no end has no vote."""
    answers = [None if verdict.overlong else task.final_answer(verdict.text) for verdict in group]
    return group[answers.index(majority_at_k(answers, len(answers)))].correct


def table(results: dict[str, dict]):
    """Evaluations side by side as plain text."""
    width = max(17, *(len(label) + 2 for label in results))
    line = ("{:20}" + f"{{:>{width}}}" * len(results)).format
    lines = [line("", *results)]
    for name in next(iter(results.values())):
        if not name.endswith(" interval"):
            shown = [FORMATS.get(name, "{:.1%}").format(result[name]) for result in results.values()]
            lines.append(line("  95% interval" if name == "interval" else name, *shown))
            if name.startswith("majority"):
                lines.append("  of the answers given: to give up is no vote")
    return "\n".join(lines)
