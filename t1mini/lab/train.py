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

from dataclasses import dataclass, replace
from pathlib import Path

from t1mini import evaluate, inference_scaling, rl, sft
from t1mini.lab import data
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, read_rows
from t1mini.runs.machine import Clock
from t1mini.runs.settings import TrainingConfig, from_flags, setting
from t1mini.runs.team import leads
from t1mini.tasks import countdown


@dataclass(frozen=True)
class TrainConfig(TrainingConfig):
    preset: str = setting("tiny", "tiny for a CPU, gpu for a GPU", choices=("tiny", "gpu"))
    traces: int = setting(0, "chains of thought for SFT; 0 means the preset's", "0 to 100_000_000")
    steps: int = setting(0, "RL updates; 0 means the preset's", "0 to 1_000_000")
    problems: int = setting(0, "test problems; 0 means all", "0, or 2 or more")
    samples: int = setting(0, "responses to each test problem; 0 means the preset's", "0 to 65_536")


def run(config):
    clock = Clock(config.device)
    leads(1)  # not under torchrun
    with RunFolder(config, "train") as folder:
        run, problems = folder.path, f"{folder.path}/data"
        print(f"run folder: {run}")
        data.write(run / "data")
        of_sft = stage_config(sft.SFTConfig, config, data=problems, out=f"{run}/sft")
        print(f"\nSFT: {of_sft.traces} chains of thought that try, fail, check and try again")
        ensure(sft, of_sft, folder.resume)
        clock.lap("sft")
        of_rl = stage_config(rl.RLConfig, config, data=problems, out=f"{run}/rl", init=f"{run}/sft/final")
        half = max(1, of_rl.steps // 2)
        print(f"\nRL: {of_rl.steps} updates of {of_rl.prompts} prompts x {of_rl.k} responses at temperature "
              f"{of_rl.temperature}")
        ensure(rl, replace(of_rl, checkpoint_every=half), folder.resume)
        clock.lap("rl")
        test = stage_config(inference_scaling.ScaleConfig, config, data=problems)
        problems = evaluate.pick_problems(test)
        print(f"\nEvaluation: {len(problems)} test problems x {test.samples} responses")
        results, curves, cuts = {}, {}, {}
        for name, policy in {"sft": "sft/final", "half": f"rl/step-{half:04d}", "rl": "rl/final"}.items():
            results[name], (curves[name], cuts[name]), _ = measure(run / policy, problems, test)
        clock.lap("evaluate")
        clock.seconds["total"] = sum(clock.seconds.values())
        report = write_results(folder, test, clock.seconds, results, curves, cuts)
    print(f"\n{report}\n\n{clock.seconds['total'] / 60:.1f} minutes. Read the final policy's thinking:\n"
          f"python -m t1mini sample --init {run}/rl/final")


def stage_config(stage, config, **changes):
    """A stage's settings: what its command says (0 says nothing), else `changes`, else the preset's."""
    said = {name: value for name, value in vars(config).items() if value and name not in ("out", "resume")}
    values = changes | said
    return from_flags(stage, {name: values[name] for name in values if hasattr(stage, name)})


def ensure(stage, config, again: str):
    """Runs a stage unless its folder has its end; one that was stopped goes on. Errors advise `again`."""
    try:
        if not Path(config.out, "final").exists():
            stage.run(resumed(config))
    except BaseException as error:
        if hasattr(error, "__notes__"):
            error.__notes__ = [f"; go on with {again}"]
        raise


def resumed(config):
    """These settings, to go on with what their folder has of a run."""
    return replace(config, resume=config.out if Path(config.out, "config.json").exists() else "")


def measure(policy: Path, problems, config):
    """Evaluation, what `budget_curve` returns, verdicts [problems][samples]."""
    policy = load_policy(policy, config.device)
    rollouts, verdicts = evaluate.respond(*policy, problems, config)
    curve = inference_scaling.budget_curve(*policy, problems, rollouts, config)
    return evaluate.summarise(countdown, problems, verdicts), curve, verdicts


def write_results(folder, test, seconds, results, curves, cuts):
    """Every file of results. Returns the report."""
    folder.write_results("evaluation.json", results)
    inference_scaling.write_curves(folder, curves, test.budgets, cuts)
    gaps = [float(row["logprob_gap"]) for row in read_rows(folder.path / "rl/metrics.csv")]
    folder.write_results("summary.json", {
        "seed": test.seed,
        "preset": test.preset,
        "seconds": seconds,
        **results,
        "budget_curve": {"budgets": test.budgets}
        | {name: curve.mean(axis=(1, 2)).tolist() for name, curve in curves.items()},
        "logprob_gap_max": max(gaps, default=None),
    })
    report = "\n\n".join([evaluate.table(results), inference_scaling.curve_table(curves, test.budgets),
                          inference_scaling.gains(curves, test.budgets, test.seed)])
    folder.write_text("report.txt", report + "\n")
    return report
