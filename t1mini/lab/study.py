"""Studies: the paper's findings (t1mini.lab.findings), each made visible by switching one thing.

Every variant is trained with every seed and measured on the same test problems: samples and budget curve.

    OUT/STUDY.csv          a row a variant and seed: settings, results, seconds
    OUT/STUDY-steps.csv    what RL's metrics said on the way
    OUT/data/              the problems, of three numbers or, with --numbers 4, of four
    OUT/sft-*, rl-*        training runs, named by a digest of their settings: what is shared is trained once

The same command goes on with a study that was stopped, and a row that is there is not made again. None is
ever replaced: a folder of other settings, or with files that no study has made, is refused.

What a comparison needs and T1 does not stands here too: other credit to a response, rl --variant NAME.

Run it: python -m t1mini study temperature --seeds 0 (without a name it lists the studies)
"""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from t1mini import evaluate, rl, sft
from t1mini.evaluate import EvaluateConfig
from t1mini.inference_scaling import ScaleConfig
from t1mini.lab import data
from t1mini.lab.exercise import in_place
from t1mini.lab.findings import STUDIES
from t1mini.lab.train import ensure, measure, stage_config
from t1mini.loss import policy_gradient_loss
from t1mini.penalties import Verdict
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, csv_text, read_rows
from t1mini.runs.settings import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.sft import SFTConfig
from t1mini.tasks import countdown

STEP_COLUMNS = ("step", "reward", "accuracy", "length", "entropy", "kl", "repetitive", "overlong", "garbled")
FREE = ("studies", "variants", "seeds", "out", "resume")  # in which the sittings of one folder may differ


@dataclass(frozen=True)
class StudyConfig(StageConfig):
    studies: tuple = setting((), "which studies; none lists them", choices=("all", *STUDIES), positional=True)
    out: str = setting("", "folder of rows and runs (default: runs/study-PRESET-NUMBERS)")
    resume: str = setting("", "folder of an earlier study to go on with; its own settings are used")
    numbers: int = setting(3, "numbers that a problem gives; 4 are harder", "3 to 4", gpu=4)
    variants: tuple = setting((), "only these variants, by their names in the tables (default: all)")
    seeds: tuple = setting((0, 1, 2), "seeds, of SFT and RL alike", "0 to 2_147_483_647")
    traces: int = setting(0, "chains of thought for SFT; 0 means the study's", "0 to 100_000_000")
    steps: int = setting(0, "RL updates; 0 means the study's", "0 to 1_000_000")
    prompts: int = setting(0, "prompts an update; 0 means the study's", "0 to 65_536")
    problems: int = setting(0, "test problems; 0 means all", "0, or 2 or more")
    plain: bool = setting(False, "the plain twins of generate and score, for reading along")
    workers: int = setting(2, "processes that share training and threads", "1 to 1024", gpu=1)


def run(config: StudyConfig):
    if config.preset in QWEN:
        raise UserError(f"--preset {config.preset}: studies are of Countdown; take tiny or gpu")
    if not config.studies:
        for name, study in STUDIES.items():
            print(f"{name:17}{len(study.variants)} variants   {study.shows}")
        return
    names = STUDIES if "all" in config.studies else config.studies
    known = [label for name in names for label in STUDIES[name].variants]
    for label in config.variants:
        if label not in known:
            choices = ", ".join(map(repr, dict.fromkeys(known)))
            raise UserError(f"--variants {label}: these studies have {choices}")
    with open_folder(config) as folder:
        if not (folder.path / f"data/{countdown.SPLITS[-1]}.jsonl").exists():
            data.write(folder.path / "data", config.numbers)
        for name in names:
            labels = [label for label in STUDIES[name].variants if label in (config.variants or known)]
            for (turn, seed), (i, label) in product(enumerate(config.seeds, 1), enumerate(labels, 1)):
                place = f"variant {i} of {len(labels)}, seed {seed} ({turn} of {len(config.seeds)})"
                print(f"{name}: {place}: {label}", flush=True)
                if not has_row(folder, f"{name}.csv", label, seed):
                    add_row(folder, name, label, replace(config, seed=seed))
            print(f"see python -m t1mini plot {name} --text --studies {folder.path}")


def open_folder(config: StudyConfig) -> RunFolder:
    """A new folder, or one of the same settings to go on with. UserError where it holds anything else."""
    path = config.resume or config.out or f"runs/study-{config.preset}-{config.numbers}"
    begun = Path(path, "config.json").exists()
    if begun:
        saved = from_flags(StudyConfig, {"resume": path}).to_dict()
        for name, value in config.to_dict().items():
            if name not in FREE and value != saved[name]:
                raise UserError(f"{path} holds rows of --{name} {saved[name]}: choose another --out")
    return RunFolder(replace(config, out=path, resume=path if begun else ""), "study")


def has_row(folder: RunFolder, file: str, label: str, seed: int) -> bool:
    return any((row["variant"], row["seed"]) == (label, str(seed)) for row in read_rows(folder.path / file))


def add_row(folder: RunFolder, name: str, label: str, config: StudyConfig):
    """Trains one variant with one seed, measures it, and adds what was found to the study's two files."""
    began, study, problems = time.perf_counter(), STUDIES[name], str(folder.path / "data")
    changes = study.common | study.variants[label]
    share = changes.get("share", 1.0)
    sft_config = trained(folder, sft, stage_config(SFTConfig, config, data=problems, **changes))
    policy = Path(sft_config.out, "final")
    stages, steps = {"sft": json.dumps(sft_config.to_dict()), "rl": ""}, []
    if share:
        of_rl = hard_problems(policy, problems, config) if "hard" in changes else problems
        rl_config = stage_config(RLConfig, config, data=of_rl, init=str(policy), **changes)
        every = 1 if rl_config.steps % 10 else rl_config.steps // 10
        rl_config = trained(folder, rl, replace(rl_config, checkpoint_every=every))
        updates = max(1, round(share * rl_config.steps))
        policy = Path(rl_config.out, f"step-{updates:04d}")
        steps = [step for step in read_rows(policy.with_name("metrics.csv")) if int(step["step"]) <= updates]
        stages["rl"] = json.dumps(rl_config.to_dict())
    results = figures(policy, stage_config(ScaleConfig, config, data=problems, samples=study.samples))
    for column in ("reward", "entropy", "kl"):
        results[f"last_{column}"] = np.mean([float(step[column]) for step in steps[-10:]]) if steps else ""
    run = {"variant": label, "seed": config.seed}
    row = {"study": name, **run, "preset": config.preset, "share_of_rl": share, **results,
           "seconds": time.perf_counter() - began, **folder.made_by, **stages}
    on_the_way = [run | {column: step[column] for column in STEP_COLUMNS} for step in steps]
    for file, rows in ((f"{name}-steps.csv", on_the_way), (f"{name}.csv", [row])):
        if rows and not has_row(folder, file, label, config.seed):
            folder.write_text(file, csv_text(read_rows(folder.path / file) + rows))


def trained(folder: RunFolder, stage, config: SFTConfig | RLConfig):
    """Runs a stage, unless it has been, in the folder its settings name. Returns them with that folder."""
    kind, digest = stage.__name__.rpartition(".")[2], hashlib.sha256(repr(config).encode()).hexdigest()
    config = replace(config, out=str(folder.path / f"{kind}-{digest[:10]}"))
    with in_place(variant(config)):
        ensure(stage, config, folder.resume)
    return config


def hard_problems(policy: Path, problems: str, config: StudyConfig) -> str:
    """A file of the training problems that a policy solves in at most 30% of 16 samples (T1, on data)."""
    path = policy.with_name("hard.jsonl")
    if not path.exists():
        c = stage_config(EvaluateConfig, config, data=problems, split="train", samples=16, problems=6000)
        chosen = evaluate.pick_problems(c)
        _, verdicts = evaluate.respond(*load_policy(policy, config.device), chosen, c)
        shares = [np.mean([v.correct for v in group]) for group in verdicts]
        countdown.save_problems(path, [problem for problem, share in zip(chosen, shares) if share <= 0.3])
    return str(path)


def figures(policy: Path, config: ScaleConfig) -> dict:
    """A policy's evaluation, its budget curve, and how often its thinking recovers from a miss.

    `correct` has a digit a problem: its right responses, in base 36. `curve` is accuracy by budget, and
    `curve_correct` has the digits by budget.
    """
    problems = evaluate.pick_problems(config)
    results, curve, verdicts = measure(policy, problems, config)
    missed, recovered = recoveries(problems, verdicts)
    return {
        **{name: value for name, value in results.items() if "interval" not in name},
        **dict(zip(("low", "high"), results["interval"])),
        "missed_first": missed,
        "recovered": recovered,
        "budgets": json.dumps(config.budgets),
        "curve": json.dumps(curve.mean(axis=(1, 2)).round(4).tolist()),
        "correct": digits(np.array([[v.correct for v in group] for group in verdicts])),
        "curve_correct": " ".join(map(digits, curve)),
    }


def recoveries(problems: list, verdicts: list[list[Verdict]]) -> tuple[float, float]:
    """Shares of responses whose first attempt misses, and of those that end right nevertheless."""
    missed = [v.correct for problem, group in zip(problems, verdicts) for v in group
              if (attempts := countdown.attempts(v.text)) and not countdown.hits(problem, attempts[:1])]
    return len(missed) / sum(map(len, verdicts)), float(np.mean(missed)) if missed else 0.0


def digits(correct: np.ndarray) -> str:
    """[problems, samples] as a digit a problem.

    >>> digits(np.array([[1, 0, 1], [0, 0, 0]]))
    '20'
    """
    return "".join(np.base_repr(int(c), 36) for c in correct.sum(axis=-1))


def mean_advantages(rewards: Tensor) -> Tensor:
    """Reward minus the mean reward of all the prompt's responses, its own too. [P, K] -> [P, K]"""
    return rewards - rewards.mean(-1, keepdim=True)


def standardised_advantages(rewards: Tensor) -> Tensor:
    """That over the group's standard deviation, as in GRPO; tied groups 0. [P, K] -> [P, K]

    >>> standardised_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[ 1.5000, -0.5000, -0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    return mean_advantages(rewards) / rewards.std(-1, keepdim=True).clamp_min(1e-6)


def shared_out(config: RLConfig) -> Callable:
    """The loss with A * mean length / length: a response's tokens share its advantage, long or short."""
    library = policy_gradient_loss  # itself, whatever stands in the place of its name later

    def loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, *, normaliser: Tensor, **bonus) -> Tensor:
        mean_length = normaliser / (config.prompts * config.k)
        advantages = advantages * mean_length / mask.sum(-1)
        return library(logprobs, advantages, mask, normaliser=normaliser, **bonus)

    return loss


VARIANTS = {
    "mean": lambda config: {"rloo_advantages": mean_advantages},
    "std": lambda config: {"rloo_advantages": standardised_advantages},
    "length": lambda config: {"policy_gradient_loss": shared_out(config)},
}


def variant(config: StageConfig) -> dict[str, Callable]:
    """What `config.variant` puts in the place of the library's functions. UserError for another name."""
    name = getattr(config, "variant", "")
    if name and name not in VARIANTS:
        raise UserError(f"--variant {name}: choose one of {', '.join(VARIANTS)}")
    return VARIANTS[name](config) if name else {}
