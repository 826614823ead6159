"""The whole of T1 in one command: data -> SFT -> RL -> evaluation -> inference scaling.

    RUN/config.json  summary.json  evaluation.json  budget_curve.csv  report.txt
    RUN/data/        the problems
    RUN/sft/         metrics.csv, timing.csv, final/
    RUN/rl/          metrics.csv, timing.csv, samples.txt, step-NNNN/ (half-way among them), final/

Three policies are compared on test problems whose numbers were never seen: the SFT start, RL after half of its updates
(rounded down, at least one), RL at the end.

Run it: python -m t1mini train
"""

import contextlib
import dataclasses
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from t1mini.tasks import countdown
from t1mini.lab import data
from t1mini.runs import team as distributed
from t1mini import evaluate
from t1mini import inference_scaling
from t1mini import rl
from t1mini import sft
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import QWEN, StageConfig, UserError, default_out, from_flags, setting
from t1mini.runs.team import Team
from t1mini.inference_scaling import ScaleConfig
from t1mini.reward import judge_rollouts
from t1mini.rl import RLConfig
from t1mini.runs.folder import RunFolder
from t1mini.sft import SFTConfig
from t1mini.statistics import paired_bootstrap


@dataclass(frozen=True)
class TrainConfig(StageConfig):
    resume: str = setting("", "folder of an earlier train to go on with; its own settings are used")
    traces: int = setting(0, "chains of thought for SFT; 0 means the preset's", low=0, high=10**8)
    steps: int = setting(0, "RL updates; 0 means the preset's", low=0, high=10**6)
    problems: int = setting(0, "test problems; 0 means all", low=0)
    samples: int = setting(0, "responses to each test problem; 0 means the preset's", low=0, high=65536)
    workers: int = setting(2, "processes that share training and threads; never more than threads", low=1, high=1024, gpu=1)


def run(config: TrainConfig) -> None:
    if config.preset in QWEN:
        raise UserError(f"--preset {config.preset}: train is for Countdown; for checkpoints run collect, sft, rl and evaluate (README)")
    if config.problems == 1:
        raise UserError("--problems 1: an interval over problems needs at least 2 of them")
    started = time.perf_counter()
    path = Path(config.resume) if config.resume else default_out(config, "train")
    configs = stage_configs(config, path)
    with RunFolder.open(config, "train", distributed.leads(configs.rl.prompts)) as folder:
        with distributed.team(config, "train", configs.rl.prompts) as team:
            seconds = learn(path, folder, configs, team)
        if not folder:
            return
        seconds["evaluate"], results, curves = measure(folder, configs)
        seconds["total"] = time.perf_counter() - started
        write_summary(folder, config, seconds, results, curves, configs.scale.budgets)
        tables = (evaluate.table(results), inference_scaling.curve_table(curves, configs.scale.budgets),
                  findings(curves, configs.scale.budgets, config.seed))
        folder.write_text("report.txt", "\n\n".join(tables) + "\n")
    print("\n" + "\n\n".join(tables))
    print(f"\n{seconds['total'] / 60:.1f} minutes. Read the final policy's thinking:")
    print(f"python -m t1mini sample --init {path / 'rl/final'}")


class StageConfigs(NamedTuple):
    sft: SFTConfig
    rl: RLConfig
    scale: ScaleConfig


def learn(path: Path, folder: RunFolder | None, configs: StageConfigs, team: Team) -> dict[str, float]:
    """Data, SFT and RL, or what an earlier sitting has left of them. Returns the seconds of each."""
    say = print if folder else lambda text: None
    if folder:
        data.write(path / "data")
        print(f"run folder: {path}")
    problems = countdown.make_splits()["train"]
    began = time.perf_counter()
    if configs.rl.resume or (path / "sft/final").exists():
        policy, tokenizer = load_policy(path / "sft/final", configs.rl.device)
    else:
        say(f"\nSFT: {configs.sft.traces} chains of thought that try, fail, check and try again")
        policy, tokenizer = sft.new_policy(configs.sft)
        rng = random.Random(configs.sft.seed)
        examples = sft.teacher_examples(problems, configs.sft, tokenizer, rng)
        with part(folder, "sft", configs.sft) as sft_folder:
            sft.train(policy, tokenizer, examples, rng, configs.sft, sft_folder, team)
    after_sft = time.perf_counter()
    c = configs.rl
    say(f"\nRL: {c.steps} updates of {c.prompts} prompts x {c.k} responses at temperature {c.temperature}")
    with part(folder, "rl", c) as rl_folder:
        rl.train(policy, tokenizer, problems, c, rl_folder, team)
    return {"sft": after_sft - began, "rl": time.perf_counter() - after_sft}


def part(folder: RunFolder | None, name: str, config: StageConfig):
    """The run folder of a stage within that of the whole, whose command goes on with both."""
    return RunFolder(folder.path / name, config, folder.resume) if folder else contextlib.nullcontext()


def measure(folder: RunFolder, configs: StageConfigs) -> tuple[float, dict[str, dict], dict[str, np.ndarray]]:
    """Seconds, evaluations and budget curves of the three policies, on the same test problems."""
    began, c = time.perf_counter(), configs.scale
    paths = {"sft": "sft/final", "half": f"rl/step-{configs.rl.checkpoint_every:04d}", "rl": "rl/final"}
    policies = {name: load_policy(folder.path / path, configs.rl.device) for name, path in paths.items()}
    problems = evaluate.pick_problems(c)
    print(f"\nEvaluation: {len(problems)} test problems x {c.samples} responses")
    results, curves = {}, {}
    for name, (policy, tokenizer) in policies.items():
        rollouts = evaluate.sample_responses(policy, tokenizer, problems, c)
        results[name] = evaluate.summarise(countdown, problems, judge_rollouts(c, problems, rollouts, tokenizer))
        curves[name] = inference_scaling.budget_curve(policy, tokenizer, problems, rollouts, c)
    return time.perf_counter() - began, results, curves


def write_summary(folder: RunFolder, config: TrainConfig, seconds, results, curves, budgets) -> None:
    folder.write_results("evaluation.json", results)
    inference_scaling.write_curves(folder, curves, budgets)
    folder.write_results("summary.json", {
        "seed": config.seed, "preset": config.preset, "seconds": {name: round(s, 1) for name, s in seconds.items()},
        **{name: {key: results[name][key] for key in ("pass@1", "interval", "problems", "samples")} for name in ("sft", "rl")},
        "budget_curve": {"budgets": budgets, **{name: scores.mean(axis=(1, 2)).tolist() for name, scores in curves.items()}},
        "logprob_gap_max": max((float(row["logprob_gap"]) for row in folder.rows("rl/metrics.csv")), default=None)})


def stage_configs(config: TrainConfig, path: Path) -> StageConfigs:
    """Each stage's settings: the preset's, and what `train` was told."""
    common = {name: getattr(config, name) for name in ("preset", "seed", "device", "threads")} | {"data": str(path / "data")}
    told = lambda **values: {**common, **{name: value for name, value in values.items() if value}}
    going_on = lambda stage: str(path / stage) if config.resume and (path / stage / "config.json").exists() else ""
    steps = from_flags(RLConfig, told(steps=config.steps)).steps
    rl_flags = told(init=str(path / "sft/final"), steps=steps, checkpoint_every=max(1, steps // 2), workers=config.workers)
    return StageConfigs(
        dataclasses.replace(from_flags(SFTConfig, told(traces=config.traces, workers=config.workers)), resume=going_on("sft")),
        dataclasses.replace(from_flags(RLConfig, rl_flags), resume=going_on("rl")),
        from_flags(ScaleConfig, told(problems=config.problems, samples=config.samples)))


def findings(curves: dict[str, np.ndarray], budgets: tuple, seed: int) -> str:
    """What the budget curves say: differences on the same problems, in points, with paired 95% intervals."""
    rl, half, sft = curves["rl"], curves["half"], curves["sft"]

    def gain(a: np.ndarray, b: np.ndarray) -> str:
        low, high = paired_bootstrap(a, b, seed)
        return f"{100 * (a.mean() - b.mean()):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"

    columns = "{:>17}{:>26}{:>26}{:>26}".format
    lines = [columns("gain, in points", "RL over SFT", "half-way over SFT", f"RL, {budgets[-1]} over this")]
    lines += [columns(f"{budget} tokens", gain(rl[i], sft[i]), gain(half[i], sft[i]), gain(rl[-1], rl[i]))
              for i, budget in enumerate(budgets)]
    return "\n".join(lines)
