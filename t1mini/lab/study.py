"""Studies: the paper's findings, each made visible by switching one thing.

A study has variants and, beside them, contrasts. A variant says what differs from the preset, in SFT or in RL; `share` is
that of RL's updates after which the policy is measured (0: the SFT model), `hard` keeps only the training problems that the
SFT model mostly fails. A contrast "figure, a - b" is what is to be compared (t1mini.lab.plot gives it an interval). Every
policy is measured on the same test problems: samples, and the budget curve.

    OUT/STUDY.csv        a row a variant and seed: settings, results, seconds
    OUT/STUDY-steps.csv  what RL's metrics said on the way
    OUT/data/            the problems, of three numbers or with --numbers 4 of four
    OUT/sft-*, rl-*      training runs, in folders named by a digest of their settings: what variants share is trained once

The same command goes on with a study that was stopped, and a row that is there is not made again. None is ever replaced: a folder
with other settings, or with files that no study has made, is refused.

Run it: python -m t1mini study temperature --seeds 0 (without a name it lists the studies)
"""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
import torch
from torch import Tensor

from t1mini import evaluate, rl, sft
from t1mini.evaluate import EvaluateConfig
from t1mini.inference_scaling import ScaleConfig
from t1mini.lab import data
from t1mini.lab.exercise import in_place
from t1mini.lab.train import ensure, measure, stage_config
from t1mini.loss import policy_gradient_loss
from t1mini.penalties import PATTERNS, Verdict
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, read_rows
from t1mini.runs.settings import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.sft import SFTConfig
from t1mini.tasks import countdown

STEP_COLUMNS = ("step", "reward", "accuracy", "length", "entropy", "kl", "repetitive", "overlong", "garbled")
FREE = ("studies", "variants", "seeds", "out", "resume")  # what may be another when a folder is gone on with
FILTERED = 6000  # training problems that `hard` looks at, at most


class Study(NamedTuple):
    """`shows` is the finding in the paper's list; `common` is of every variant; `samples` are responses to each test problem."""

    shows: str
    variants: dict[str, dict]
    contrasts: list[str]
    common: dict = {}
    samples: int = 4


START = {"share": 0.0}
CLEAN = dict(spread=1e-3, give_up=0.0, repeat=0.0, slip=0.0, misjudge=0.0, traces=236_000)  # a solution at once; as many tokens
SMALL, LARGE = dict(hidden=48, layers=2, intermediate=128), dict(hidden=160, layers=4, heads=5, intermediate=432)

STUDIES = {
    "thinking-budget": Study(
        "F5, F6: accuracy rises with the thinking budget, more so the further RL has gone",
        {f"{share:.0%} of RL": {"share": share} for share in (0.0, 0.3, 0.6, 1.0)},
        [*(f"accuracy, {share} of RL: 192 tokens - 48 tokens" for share in ("0%", "100%")),
         *(f"gain from 48 to 192 tokens, {share} of RL - 0% of RL" for share in ("30%", "60%", "100%")),
         "length, 100% of RL - 0% of RL", "recovered, 100% of RL - 0% of RL"]),
    "start": Study(
        "F9: trial-and-error SFT is a better start than clean-solution SFT",
        {"trial and error, SFT": START, "trial and error, RL": {}, "clean solutions, SFT": CLEAN | START, "clean solutions, RL": CLEAN},
        ["accuracy, trial and error, RL - clean solutions, RL", "accuracy, trial and error, SFT - clean solutions, SFT",
         "accuracy, trial and error, RL - trial and error, SFT", "accuracy, clean solutions, RL - clean solutions, SFT",
         "length, trial and error, RL - clean solutions, RL"]),
    "sizes": Study(
        "F1: RL lifts every model size over its own SFT",
        {"small, SFT": SMALL | START, "small, RL": SMALL, "middle, SFT": START, "middle, RL": {}, "large, SFT": LARGE | START, "large, RL": LARGE},
        [f"accuracy, {size}, RL - {size}, SFT" for size in ("small", "middle", "large")]),
    "penalties": Study(
        "F4: penalties hold length and quality",
        {"all penalties": {}, "none": dict(penalties=False), **{f"only {name}": dict(patterns=(name,)) for name in PATTERNS}},
        ["accuracy, all penalties - none", *(f"accuracy, all penalties - only {name}" for name in PATTERNS),
         *(f"{figure}, none - all penalties" for figure in ("length", *PATTERNS))],
        common=dict(steps=150)),
    "oversampling": Study(
        "F2: larger K gives higher accuracy, longer answers, less KL for the same reward",
        {**{f"K = {k}, 32 prompts": dict(k=k) for k in (4, 16, 64)},
         **{f"K = {k}, 512 responses": dict(k=k, prompts=512 // k) for k in (4, 64)}},
        ["accuracy, K = 64, 32 prompts - K = 4, 32 prompts", "accuracy, K = 64, 32 prompts - K = 16, 32 prompts",
         "accuracy, K = 16, 32 prompts - K = 4, 32 prompts", "accuracy, K = 64, 512 responses - K = 4, 512 responses",
         "length, K = 64, 32 prompts - K = 4, 32 prompts", "last_kl, K = 64, 32 prompts - K = 4, 32 prompts"]),
    "temperature": Study(
        "F3: a sampling temperature above 1 is best, too high hurts",
        {**{f"temperature {t}": dict(temperature=t) for t in (0.9, 1.0, 1.1, 1.2, 1.3)}, "1.2 with min-p 0.05": dict(min_p=0.05)},
        [*(f"accuracy, temperature 1.2 - temperature {t}" for t in (0.9, 1.0, 1.1, 1.3)),
         "accuracy, 1.2 with min-p 0.05 - temperature 1.2"]),
    "reference": Study(
        "F7: a moving reference lets RL go further than a fixed one",
        {"frozen": dict(ema_decay=1.0), **{f"EMA {d}": dict(ema_decay=d) for d in (0.9, 0.97, 0.99)}, "none": dict(kl_coef=0.0)},
        ["accuracy, EMA 0.99 - frozen", "accuracy, EMA 0.9 - frozen", "accuracy, none - frozen", "last_kl, EMA 0.9 - frozen"],
        common=dict(kl_coef=0.05)),
    "entropy": Study(
        "F8: the entropy bonus keeps exploration alive",
        {f"entropy bonus {alpha}": dict(entropy_coef=alpha) for alpha in (0.0, 0.001, 0.01, 0.03)},
        [f"{figure}, entropy bonus {alpha} - entropy bonus 0.0" for figure in ("accuracy", "pass@16", "last_entropy")
         for alpha in (0.001, 0.01, 0.03)],
        samples=16),
    "credit": Study(
        "what other advantages do to length and accuracy",
        {"leave-one-out": {}, "group mean": dict(variant="mean"), "over the standard deviation": dict(variant="std"),
         "shared out over tokens": dict(variant="length")},
        [f"{figure}, {other} - leave-one-out" for figure in ("accuracy", "length")
         for other in ("group mean", "over the standard deviation", "shared out over tokens")]),
    "difficulty": Study(
        "what the filter does: problems that SFT solves in at most 30% of 16 samples",
        {"all problems": {}, "hard problems": {"hard": True}},
        ["accuracy, hard problems - all problems", "length, hard problems - all problems"]),
}


@dataclass(frozen=True)
class StudyConfig(StageConfig):
    studies: tuple = setting((), "which studies; without any, they are listed", choices=("all", *STUDIES), positional=True)
    out: str = setting("", "folder of rows and runs (default: runs/study-PRESET-NUMBERS)")
    resume: str = setting("", "folder of an earlier study to go on with; its own settings are used")
    numbers: int = setting(3, "numbers that a problem gives; 4 are harder", low=3, high=4, gpu=4)
    variants: tuple = setting((), "only these variants, by their names in the tables (default: all)")
    seeds: tuple = setting((0, 1, 2), "seeds, of SFT and RL alike", low=0, high=2**31 - 1)
    traces: int = setting(0, "chains of thought for SFT; 0 means the study's", low=0, high=10**8)
    steps: int = setting(0, "RL updates; 0 means the study's", low=0, high=10**6)
    prompts: int = setting(0, "prompts an update; 0 means the study's", low=0, high=65536)
    problems: int = setting(0, "test problems; 0 means all", low=2, or_zero=True)
    plain: bool = setting(False, "the plain twins of generate and score, for reading along")
    workers: int = setting(2, "processes that share training and threads; never more than threads", low=1, high=1024, gpu=1)


def run(config: StudyConfig) -> None:
    if config.preset in QWEN:
        raise UserError(f"--preset {config.preset}: studies are of Countdown; take tiny or gpu")
    if not config.studies:
        print("\n".join(f"{name:17}{len(study.variants)} variants   {study.shows}" for name, study in STUDIES.items()))
        return
    names = STUDIES if "all" in config.studies else config.studies
    known = [label for name in names for label in STUDIES[name].variants]
    for label in config.variants:
        if label not in known:
            raise UserError(f"--variants {label}: these studies have {', '.join(map(repr, dict.fromkeys(known)))}")
    with open_folder(config) as folder:
        if not (folder.path / f"data/{countdown.SPLITS[-1]}.jsonl").exists():
            data.write(folder.path / "data", config.numbers)
        for name in names:
            labels = [label for label in STUDIES[name].variants if label in (config.variants or known)]
            for (turn, seed), (i, label) in product(enumerate(config.seeds, 1), enumerate(labels, 1)):
                print(f"{name}: variant {i} of {len(labels)}, seed {seed} ({turn} of {len(config.seeds)}): {label}", flush=True)
                if not has_row(folder, f"{name}.csv", label, seed):
                    add_row(folder, name, label, replace(config, seed=seed))
            print(f"see python -m t1mini plot {name} --text --studies {folder.path}")


def open_folder(config: StudyConfig) -> RunFolder:
    """A new folder, or one of the same settings to go on with. UserError where it holds anything else."""
    path = config.resume or config.out or f"runs/study-{config.preset}-{config.numbers}"
    begun = Path(path, "config.json").exists()
    if begun:
        saved = from_flags(StudyConfig, {"resume": path}).to_dict()
        other = [name for name, value in config.to_dict().items() if name not in FREE and value != saved[name]]
        if other:
            raise UserError(f"{path} has rows with other --{', --'.join(other)}, and they stay; choose another --out")
    return RunFolder.open(replace(config, out=path, resume=path if begun else ""), "study")


def has_row(folder: RunFolder, file: str, label: str, seed: int) -> bool:
    return any((row["variant"], row["seed"]) == (label, str(seed)) for row in folder.rows(file))


def add_row(folder: RunFolder, name: str, label: str, config: StudyConfig) -> None:
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
    test = stage_config(ScaleConfig, config, data=problems, samples=study.samples)
    run = {"variant": label, "seed": config.seed}
    row = {
        "study": name, **run, "preset": config.preset, "share_of_rl": share, **figures(policy, test),
        **{f"last_{column}": np.mean([float(step[column]) for step in steps[-10:]]) if steps else "" for column in ("reward", "entropy", "kl")},
        "seconds": time.perf_counter() - began, **folder.made_by, **stages,
    }
    own_steps = [run | {column: step[column] for column in STEP_COLUMNS} for step in steps]
    for file, rows in ((f"{name}-steps.csv", own_steps), (f"{name}.csv", [row])):
        if rows and not has_row(folder, file, label, config.seed):
            folder.write_rows(file, folder.rows(file) + rows)


def trained(folder: RunFolder, stage, config: SFTConfig | RLConfig):
    """Runs a stage in the folder that is named by its settings, unless it has been. Returns the settings with that folder."""
    digest = hashlib.sha256(repr(config).encode()).hexdigest()[:10]
    config = replace(config, out=str(folder.path / f"{stage.__name__.rpartition('.')[2]}-{digest}"))
    variant = getattr(config, "variant", "")
    with in_place(VARIANTS[variant](config) if variant else {}):
        ensure(stage, config, folder.resume)
    return config


def hard_problems(policy: Path, problems: str, config: StudyConfig) -> str:
    """A file of the training problems that a policy solves in at most 30% of 16 samples (T1, section on data)."""
    path = policy.with_name("hard.jsonl")
    if not path.exists():
        c = stage_config(EvaluateConfig, config, data=problems, split="train", samples=16, problems=FILTERED)
        chosen = evaluate.pick_problems(c)
        model, tokenizer = load_policy(policy, config.device)
        _, verdicts = evaluate.respond(model, tokenizer, chosen, c)
        countdown.save_problems(path, [p for p, group in zip(chosen, verdicts) if np.mean([v.correct for v in group]) <= 0.3])
    return str(path)


def figures(policy: Path, config: ScaleConfig) -> dict:
    """A policy on the test problems: t1mini.evaluate's figures, the budget curve, and how often the thinking recovers from a miss.

    `correct` has a digit a problem: its right responses, in base 36. `curve` is accuracy by budget, `curve_correct` the same digits by budget.
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
    """Reward minus the mean reward of all the prompt's responses, its own too: (K-1)/K of leave-one-out. [P, K] -> [P, K]"""
    return rewards - rewards.mean(-1, keepdim=True)


def standardised_advantages(rewards: Tensor) -> Tensor:
    """That over the group's standard deviation, as in GRPO: rare successes count more. [P, K] -> [P, K], tied groups 0.

    >>> standardised_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[ 1.5000, -0.5000, -0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    return mean_advantages(rewards) / rewards.std(-1, keepdim=True).clamp_min(1e-6)


def shared_out(config: RLConfig) -> Callable:
    """A loss in which a response's tokens share its advantage: A * mean length / length. So a long one weighs no more than a short one."""
    library = policy_gradient_loss  # the loss itself, whatever takes the place of its name later

    def loss(logprobs: Tensor, advantages: Tensor, mask: Tensor, *, normaliser: Tensor, **bonus) -> Tensor:
        mean_length = normaliser / (config.prompts * config.k)
        return library(logprobs, advantages * mean_length / mask.sum(-1), mask, normaliser=normaliser, **bonus)

    return loss


VARIANTS = {
    "mean": lambda config: {"rloo_advantages": mean_advantages},
    "std": lambda config: {"rloo_advantages": standardised_advantages},
    "length": lambda config: {"policy_gradient_loss": shared_out(config)},
}
