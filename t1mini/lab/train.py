"""The whole of T1 in one command: data -> SFT -> RL -> evaluation -> inference scaling.

    RUN/config.json  summary.json  evaluation.json  budget_curve.csv  report.txt
    RUN/data/        the problems
    RUN/sft/         metrics.csv, timing.csv, final/
    RUN/rl/          metrics.csv, timing.csv, samples.txt, step-NNNN/ (half-way among them), final/

It does what `data`, `sft`, `rl`, `evaluate` and `scale` do one after the other. Three policies are compared
on test problems whose numbers were never seen: the SFT start, RL after half of its updates (rounded down, at
least one), RL at the end.

Run it: python -m t1mini train
"""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from t1mini import evaluate, inference_scaling, rl, sft
from t1mini.inference_scaling import ScaleConfig
from t1mini.lab import data
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, read_rows
from t1mini.runs.machine import Clock
from t1mini.runs.settings import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.sft import SFTConfig
from t1mini.statistics import paired_bootstrap
from t1mini.tasks import countdown


@dataclass(frozen=True)
class TrainConfig(StageConfig):
    resume: str = setting("", "folder of an earlier train to go on with; its own settings are used")
    traces: int = setting(0, "chains of thought for SFT; 0 means the preset's", "0 to 100_000_000")
    steps: int = setting(0, "RL updates; 0 means the preset's", "0 to 1_000_000")
    problems: int = setting(0, "test problems; 0 means all", "0, or 2 or more")
    samples: int = setting(0, "responses to each test problem; 0 means the preset's", "0 to 65_536")
    plain: bool = setting(False, "the plain twins of generate and score, for reading along")
    workers: int = setting(2, "processes that share training and threads", "1 to 1024", gpu=1)


def run(config: TrainConfig):
    if config.preset in QWEN:
        raise UserError(f"--preset {config.preset}: train is for Countdown; take collect, sft, rl, evaluate")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("train starts its own workers; under torchrun run data, sft, rl and evaluate")
    clock = Clock(config.device)
    with RunFolder(config, "train") as folder:
        print(f"run folder: {folder.path}")
        data.write(folder.path / "data")
        run, problems = folder.path, f"{folder.path}/data"
        sft_config = stage_config(SFTConfig, config, data=problems, out=f"{run}/sft")
        rl_config = stage_config(RLConfig, config, data=problems, out=f"{run}/rl", init=f"{run}/sft/final")
        rl_config = replace(rl_config, checkpoint_every=max(1, rl_config.steps // 2))
        test = stage_config(ScaleConfig, config, data=problems)
        print(f"\nSFT: {sft_config.traces} chains of thought that try, fail, check and try again")
        ensure(sft, sft_config, folder.resume)
        clock.lap("sft")
        batch = f"{rl_config.prompts} prompts x {rl_config.k} responses"
        print(f"\nRL: {rl_config.steps} updates of {batch} at temperature {rl_config.temperature}")
        ensure(rl, rl_config, folder.resume)
        clock.lap("rl")
        policies = {"sft": "sft/final", "half": f"rl/step-{rl_config.checkpoint_every:04d}", "rl": "rl/final"}
        problems = evaluate.pick_problems(test)
        print(f"\nEvaluation: {len(problems)} test problems x {test.samples} responses")
        results, curves = {}, {}
        for name, policy in policies.items():
            results[name], curves[name], _ = measure(run / policy, problems, test)
        clock.lap("evaluate")
        seconds = clock.seconds | {"total": sum(clock.seconds.values())}
        write_summary(folder, config, seconds, results, curves, test.budgets)
        report = "\n\n".join((evaluate.table(results), inference_scaling.curve_table(curves, test.budgets),
                               gains(curves, test.budgets, config.seed)))
        folder.write_text("report.txt", report + "\n")
    print(f"\n{report}\n\n{seconds['total'] / 60:.1f} minutes. Read the final policy's thinking:")
    print(f"python -m t1mini sample --init {run}/rl/final")


def stage_config(stage: type, config: StageConfig, **changes):
    """A stage's settings: what its command says (0 says nothing), else `changes`, else the preset's."""
    said = {name: value for name, value in vars(config).items() if value and name not in ("out", "resume")}
    values = changes | said
    return from_flags(stage, {name: values[name] for name in values if hasattr(stage, name)})


def ensure(stage, config: SFTConfig | RLConfig, again: str):
    """Runs a stage unless its folder has its end; one that was stopped goes on. Errors advise `again`."""
    folder = Path(config.out)
    if (folder / "final").exists():
        return
    if (folder / "config.json").exists():
        config = replace(config, resume=config.out)
    try:
        stage.run(config)
    except (Exception, KeyboardInterrupt) as error:
        advice = getattr(error, "__notes__", [])
        error.__notes__ = [re.sub("python -m t1mini .*", lambda _: again, note) for note in advice]
        raise


def measure(policy: Path, problems: list, config: ScaleConfig) -> tuple[dict, np.ndarray, list]:
    """Evaluation, right or not at each budget [budgets, problems, samples], verdicts [problems][samples]."""
    model, tokenizer = load_policy(policy, config.device)
    rollouts, verdicts = evaluate.respond(model, tokenizer, problems, config)
    curve = inference_scaling.budget_curve(model, tokenizer, problems, rollouts, config)
    return evaluate.summarise(countdown, problems, verdicts), curve, verdicts


def write_summary(folder: RunFolder, config: TrainConfig, seconds: dict, results, curves, budgets):
    folder.write_results("evaluation.json", results)
    inference_scaling.write_curves(folder, curves, budgets)
    gaps = [float(row["logprob_gap"]) for row in read_rows(folder.path / "rl/metrics.csv")]
    means = {name: curve.mean(axis=(1, 2)).tolist() for name, curve in curves.items()}
    kept = ("pass@1", "interval", "problems", "samples")
    folder.write_results("summary.json", {
        "seed": config.seed,
        "preset": config.preset,
        "seconds": {name: round(s, 1) for name, s in seconds.items()},
        **{name: {key: results[name][key] for key in kept} for name in ("sft", "rl")},
        "budget_curve": {"budgets": budgets} | means,
        "logprob_gap_max": max(gaps, default=None),
    })


def gains(curves: dict[str, np.ndarray], budgets: tuple, seed: int) -> str:
    """What the budget curves say: differences on the same problems, in points, with paired 95% intervals."""
    rl, half, sft = curves["rl"], curves["half"], curves["sft"]

    def gain(a: np.ndarray, b: np.ndarray) -> str:
        low, high = paired_bootstrap(a, b, seed)
        return f"{100 * (a.mean() - b.mean()):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"

    columns = "{:>17}{:>26}{:>26}{:>26}".format
    lines = [columns("gain, in points", "RL over SFT", "half-way over SFT", f"RL, {budgets[-1]} over this")]
    for i, budget in enumerate(budgets):
        found = gain(rl[i], sft[i]), gain(half[i], sft[i]), gain(rl[-1], rl[i])
        lines.append(columns(f"{budget} tokens", *found))
    return "\n".join(lines)
