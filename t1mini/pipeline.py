"""The whole of T1 in one command: data -> SFT -> RL -> evaluation -> inference scaling.

    RUN/config.json  summary.json  evaluation.json  budget_curve.csv
    RUN/data/        the problems
    RUN/sft/         metrics.csv, timing.csv, final/
    RUN/rl/          metrics.csv, timing.csv, samples.txt, step-NNNN/ (half-way among them), final/

Three policies are compared on test problems whose numbers were never seen: the SFT start, RL half-way, RL at the end.

Run it: python -m t1mini train
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t1mini import data, evaluate, inference_scaling, rl, sft
from t1mini.checkpoint import load_policy, save_policy
from t1mini.config import StageConfig, default_out, from_flags, setting
from t1mini.evaluate import EvaluateConfig
from t1mini.inference_scaling import ScaleConfig
from t1mini.rl import RLConfig
from t1mini.run_folder import RunFolder
from t1mini.sft import SFTConfig
from t1mini.statistics import paired_bootstrap


@dataclass(frozen=True)
class TrainConfig(StageConfig):
    traces: int = setting(0, "chains of thought for SFT; 0 means the preset's", low=0, high=10**8)
    steps: int = setting(0, "RL updates; 0 means the preset's", low=0, high=10**6)
    problems: int = setting(0, "test problems; 0 means all", low=0)
    samples: int = setting(0, "responses to each test problem; 0 means the preset's", low=0, high=65536)


def run(config: TrainConfig) -> None:
    started = time.perf_counter()
    folder = RunFolder(default_out(config, "train"), config)
    print(f"run folder: {folder.path}")
    splits = data.write(folder.path / "data")
    sft_config, rl_config, eval_config, scale_config = stage_configs(config, folder.path)

    print(f"\nSFT: {sft_config.traces} chains of thought that try, fail, check and try again")
    policy, tokenizer = sft.new_policy(sft_config)
    sft.train(policy, tokenizer, splits["train"], sft_config, sft_folder := RunFolder(folder.path / "sft", sft_config))
    save_policy(policy, tokenizer, sft_folder.path / "final")
    after_sft = time.perf_counter()

    print(f"\nRL: {rl_config.steps} updates of {rl_config.prompts} prompts x {rl_config.k} responses at temperature {rl_config.temperature}")
    gap = rl.train(policy, tokenizer, splits["train"], rl_config, rl_folder := RunFolder(folder.path / "rl", rl_config))
    after_rl = time.perf_counter()

    half = rl_folder.path / f"step-{rl_config.checkpoint_every:04d}"
    paths = {"sft": sft_folder.path / "final", "half": half, "rl": rl_folder.path / "final"}
    policies = {name: load_policy(path, config.device)[0] for name, path in paths.items()}
    problems = evaluate.pick_problems(eval_config)
    print(f"\nEvaluation: {len(problems)} test problems x {eval_config.samples} responses")
    verdicts = {name: evaluate.evaluate(policy, tokenizer, problems, eval_config) for name, policy in policies.items()}
    results = {name: evaluate.summarise(problems, v) for name, v in verdicts.items()}
    curves = {name: inference_scaling.budget_curve(policy, tokenizer, problems, scale_config) for name, policy in policies.items()}

    now = time.perf_counter()
    seconds = {"sft": after_sft - started, "rl": after_rl - after_sft, "evaluate": now - after_rl, "total": now - started}
    folder.write_json("evaluation.json", results)
    inference_scaling.write_curves(folder, curves, scale_config.budgets)
    folder.write_json("summary.json", {
        "seed": config.seed, "preset": config.preset, "seconds": {name: round(s, 1) for name, s in seconds.items()},
        **{name: {key: results[name][key] for key in ("pass@1", "interval", "problems", "samples")} for name in ("sft", "rl")},
        "budget_curve": {"budgets": scale_config.budgets, **{name: c.mean(axis=(1, 2)).tolist() for name, c in curves.items()}},
        "logprob_gap_max": gap})
    print("\n" + evaluate.table(results))
    print("\n" + inference_scaling.curve_table(curves, scale_config.budgets))
    print("\n" + findings(curves, scale_config.budgets, config.seed))
    print(f"\n{seconds['total'] / 60:.1f} minutes. Read the final policy think: python -m t1mini sample --init {paths['rl']}")


def stage_configs(config: TrainConfig, folder: Path) -> tuple[SFTConfig, RLConfig, EvaluateConfig, ScaleConfig]:
    """Each stage's settings: the preset's, and what `train` was told."""
    common = {"preset": config.preset, "seed": config.seed, "device": config.device, "threads": config.threads, "data": str(folder / "data")}
    told = lambda **values: {**common, **{name: value for name, value in values.items() if value}}
    steps = from_flags(RLConfig, told(steps=config.steps)).steps
    return (from_flags(SFTConfig, told(traces=config.traces)),
            from_flags(RLConfig, told(init=str(folder / "sft/final"), steps=steps, checkpoint_every=max(1, steps // 2))),
            from_flags(EvaluateConfig, told(init=str(folder / "rl/final"), problems=config.problems, samples=config.samples)),
            from_flags(ScaleConfig, told(problems=config.problems)))


def findings(curves: dict[str, np.ndarray], budgets: tuple, seed: int) -> str:
    """What the budget curves say, as paired differences on the same problems with their 95% intervals."""
    first, last, middle = budgets[0], budgets[-1], budgets[(len(budgets) - 1) // 2]
    pairs = {
        f"RL, {last} tokens of thinking rather than {first}": (curves["rl"][-1], curves["rl"][0]),
        f"RL, {last} tokens of thinking rather than {middle}": (curves["rl"][-1], curves["rl"][(len(budgets) - 1) // 2]),
        f"RL rather than SFT, {middle} tokens of thinking": (curves["rl"][(len(budgets) - 1) // 2], curves["sft"][(len(budgets) - 1) // 2]),
        f"RL rather than SFT, {last} tokens of thinking": (curves["rl"][-1], curves["sft"][-1]),
        f"RL rather than RL half-way, {last} tokens": (curves["rl"][-1], curves["half"][-1]),
    }
    lines = ["gain in accuracy, in points (95% interval, same problems)"]
    for label, (a, b) in pairs.items():
        low, high = paired_bootstrap(a, b, seed)
        lines.append(f"  {label:52}{100 * (a.mean() - b.mean()):+6.1f}  ({100 * low:+.1f} to {100 * high:+.1f})")
    return "\n".join(lines)
