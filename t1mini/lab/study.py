"""Studies: the paper's findings, each made visible by switching one thing.

A study is a table of variants: what differs from the preset in SFT and in RL, and after which share of RL's updates the policy is
measured. Every policy is measured on the same test problems: samples, and the budget curve.

    STUDY.csv        a row a variant and seed: settings, results, seconds
    STUDY-steps.csv  what RL's metrics said on the way

With --numbers 4 the problems are harder, and the rows have a folder of their own.

A variant is trained only where neither a row of a CSV nor a run under --work has its settings: studies share both, take as many
sittings as one likes, and cost nothing when nothing has changed. METHOD is part of what is compared: it is raised by any change of
the code that changes what a run gives.

Run it: python -m t1mini study thinking-budget start --seeds 0 1 2
"""

import csv
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from t1mini.tasks import countdown
from t1mini.lab import data
from t1mini import evaluate
from t1mini import inference_scaling
from t1mini import rl
from t1mini import sft
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import QWEN, StageConfig, UserError, from_flags, setting
from t1mini.tasks.countdown import SPLITS
from t1mini.inference_scaling import ScaleConfig
from t1mini.reward import Verdict, judge_rollouts
from t1mini.rl import RLConfig
from t1mini.runs.folder import Stopped, csv_text, made_by, read_rows, write_text
from t1mini.sft import SFTConfig

METHOD = 2
FILTERED = 6000  # training problems that the filter looks at, at most
STEP_COLUMNS = ("step", "reward", "accuracy", "length", "entropy", "kl", "repetitive", "overlong", "garbled")


class Variant(NamedTuple):
    """What differs from the preset, and the share of RL's updates after which to measure: 0 is the SFT model."""

    sft: dict = {}
    rl: dict = {}
    at: float = 1.0


@dataclass(frozen=True)
class Study:
    """`shows` is the finding in the paper's list; `samples` are responses to each test problem."""

    shows: str
    variants: dict[str, Variant]
    samples: int = 4
    common: dict = field(default_factory=dict)  # of RL, in every variant


CLEAN = dict(spread=1e-3, give_up=0.0, repeat=0.0, slip=0.0, misjudge=0.0, traces=236_000)  # a solution at once; as many tokens
SMALL, LARGE = dict(hidden=48, layers=2, intermediate=128), dict(hidden=160, layers=4, heads=5, intermediate=432)

STUDIES = {
    "thinking-budget": Study("F5, F6: accuracy rises with the thinking budget, more so the further RL has gone",
                             {f"{share:.0%} of RL": Variant(at=share) for share in (0.0, 0.3, 0.6, 1.0)}),
    "start": Study("F9: trial-and-error SFT is a better start than clean-solution SFT", {
        "trial and error, SFT": Variant(at=0.0), "trial and error, RL": Variant(),
        "clean solutions, SFT": Variant(CLEAN, at=0.0), "clean solutions, RL": Variant(CLEAN)}),
    "sizes": Study("F1: RL lifts every model size over its own SFT", {
        f"{name}, {stage}": Variant(shape, at=at) for name, shape in (("small", SMALL), ("middle", {}), ("large", LARGE))
        for stage, at in (("SFT", 0.0), ("RL", 1.0))}),
    "penalties": Study("F4: penalties hold length and quality", {
        "all penalties": Variant(), "none": Variant(rl=dict(penalties=False)),
        **{f"only {name}": Variant(rl=dict(patterns=(name,))) for name in ("repetitive", "overlong", "garbled")}}, common=dict(steps=150)),
    "oversampling": Study("F2: larger K gives higher accuracy, longer answers, less KL for the same reward", {
        **{f"K = {k}, 32 prompts": Variant(rl=dict(k=k)) for k in (4, 16, 64)},
        **{f"K = {k}, 512 responses": Variant(rl=dict(k=k, prompts=512 // k)) for k in (4, 64)}}),
    "temperature": Study("F3: a sampling temperature above 1 is best, too high hurts", {
        **{f"temperature {t}": Variant(rl=dict(temperature=t)) for t in (0.9, 1.0, 1.1, 1.2, 1.3)},
        "1.2 with min-p 0.05": Variant(rl=dict(min_p=0.05))}),
    "reference": Study("F7: a moving reference lets RL go further than a fixed one", {
        "frozen": Variant(rl=dict(ema_decay=1.0)), **{f"EMA {d}": Variant(rl=dict(ema_decay=d)) for d in (0.9, 0.97, 0.99)},
        "none": Variant(rl=dict(kl_coef=0.0))}, common=dict(kl_coef=0.05)),
    "entropy": Study("F8: the entropy bonus keeps exploration alive", {
        f"entropy bonus {alpha}": Variant(rl=dict(entropy_coef=alpha)) for alpha in (0.0, 0.001, 0.01, 0.03)}, samples=16),
    "credit": Study("what other advantages do to length and accuracy", {
        "leave-one-out": Variant(), "group mean": Variant(rl=dict(credit="mean")),
        "over the standard deviation": Variant(rl=dict(credit="std")), "shared out over tokens": Variant(rl=dict(credit="length"))}),
    "difficulty": Study("what the filter does: problems that SFT solves in at most 30% of 16 samples", {
        "all problems": Variant(), "hard problems": Variant(rl=dict(data="hard"))}),
}


@dataclass(frozen=True)
class StudyConfig(StageConfig):
    studies: tuple = setting(("all",), "which studies", choices=("all", *STUDIES), positional=True)
    out: str = setting("", "folder of the CSV files (default: tutorials/studies, and in it PRESET-NUMBERS where those are not tiny and 3)")
    work: str = setting("runs/studies", "folder of the training runs")
    numbers: int = setting(3, "numbers that a problem gives; 4 are harder", low=3, high=4, gpu=4)
    variants: tuple = setting((), "only these variants, by their names in the tables (default: all)")
    seeds: tuple = setting((0, 1, 2), "seeds, of SFT and RL alike", low=0, high=2**31 - 1)
    traces: int = setting(0, "chains of thought for SFT; 0 means the study's", low=0, high=10**8)
    steps: int = setting(0, "RL updates; 0 means the study's", low=0, high=10**6)
    prompts: int = setting(0, "prompts an update; 0 means the study's", low=0, high=65536)
    problems: int = setting(0, "test problems; 0 means all", low=0)
    workers: int = setting(2, "processes that share training and threads; never more than threads", low=1, high=1024, gpu=1)


def run(config: StudyConfig) -> None:
    if config.preset in QWEN:
        raise UserError(f"--preset {config.preset}: studies are of Countdown; take tiny or gpu")
    if config.problems == 1:
        raise UserError("--problems 1: an interval over problems needs at least 2 of them")
    names = list(STUDIES) if "all" in config.studies else config.studies
    known = [label for name in names for label in STUDIES[name].variants]
    for label in config.variants:
        if label not in known:
            raise UserError(f"--variants {label}: these studies have {', '.join(map(repr, dict.fromkeys(known)))}")
    config = replace(config, out=config.out or default_folder(config))
    for folder in (config.out, config.work):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {folder}: {error.strerror}; choose another --out or --work") from None
    require_rows(Path(config.out))
    try:
        for name in names:
            for seed, label in product(config.seeds, STUDIES[name].variants):
                if label in (config.variants or known):
                    add_row(name, label, replace(config, seed=seed))
            print(f"{name}: {Path(config.out) / name}.csv")
    except Stopped as stopped:  # a stage would have its own run resumed
        raise Stopped(stopped.code - 128, "stopped; the same command goes on from there") from None


def require_rows(folder: Path) -> None:
    """UserError where a CSV file of `folder` is not a study's, lest it be written over."""
    for path in folder.glob("*.csv"):
        try:
            rows = read_rows(path)
        except (UnicodeDecodeError, csv.Error):
            rows = []
        if not rows or not {"variant", "seed"} <= rows[0].keys():
            raise UserError(f"{path} does not hold a study's rows; move it away, or choose another --out")


def default_folder(config: StudyConfig) -> str:
    embedded = (config.preset, config.numbers) == ("tiny", 3)
    return "tutorials/studies" + ("" if embedded else f"/{config.preset}-{config.numbers}")


def add_row(name: str, label: str, config: StudyConfig) -> None:
    """Trains and measures one variant with one seed, unless its row is there."""
    path = Path(config.out) / f"{name}.csv"
    study = STUDIES[name]
    sft_config, rl_config, measured = stage_configs(study, study.variants[label], config)
    key = digest(METHOD, settings(sft_config), settings(rl_config), study.variants[label].at, settings(measured))
    there = {row.get("key"): row.get("method") for row in read_rows(path) if (row["variant"], row["seed"]) == (label, str(config.seed))}
    if str(METHOD) in there.values() and key not in there:
        raise UserError(f"{path} has a row of '{label}' with seed {config.seed} and other settings; choose another --out")
    if key in there or borrow_row(path, label, key):
        return
    began = time.perf_counter()
    at = study.variants[label].at
    if not (Path(sft_config.data) / f"{SPLITS[-1]}.jsonl").exists():
        data.write(Path(sft_config.data), config.numbers)
    ensure(sft, sft_config)
    if rl_config.data.endswith("hard.jsonl"):
        write_hard_problems(Path(rl_config.data), sft_config, config)
    if at:
        ensure(rl, rl_config)
    update = max(1, round(at * rl_config.steps))
    folder = f"{sft_config.out}/final" if not at else f"{rl_config.out}/" + ("final" if at == 1 else f"step-{update:04d}")
    results = measure(replace(measured, init=(folder,)))
    steps = read_rows(Path(rl_config.out) / "metrics.csv")[:update] if at else []
    row = {"study": name, "variant": label, "seed": config.seed, "preset": config.preset, "share_of_rl": at, **results,
           **{f"last_{column}": np.mean([float(s[column]) for s in steps[-10:]]) if steps else "" for column in ("reward", "entropy", "kl")},
           "seconds": time.perf_counter() - began, "method": METHOD, "key": key, **made_by(config),
           "sft": json.dumps(settings(sft_config)), "rl": json.dumps(settings(rl_config)) if at else ""}
    add_rows(steps_file(path), [{"variant": label, "seed": config.seed, **{c: s[c] for c in STEP_COLUMNS}} for s in steps])
    add_rows(path, [row])


def borrow_row(path: Path, label: str, key: str) -> bool:
    """Takes over the row that another study has of the same settings, if one has."""
    for other in sorted(path.parent.glob("*.csv")):
        for row in read_rows(other):
            if row.get("key") == key:
                same_run = (row["variant"], row["seed"])
                steps = [step for step in read_rows(steps_file(other)) if (step["variant"], step["seed"]) == same_run]
                add_rows(steps_file(path), [step | {"variant": label} for step in steps])
                add_rows(path, [row | {"study": path.stem, "variant": label}])
                return True
    return False


def steps_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}-steps.csv")


def add_rows(path: Path, rows: list[dict]) -> None:
    """Adds rows of one variant and seed to a CSV file, in place of those it has of them. It is read only now: another study may have written."""
    if rows:
        others = [row for row in read_rows(path) if (row["variant"], row["seed"]) != (rows[0]["variant"], str(rows[0]["seed"]))]
        write_text(path, csv_text([*others, *rows]))


def stage_configs(study: Study, variant: Variant, config: StudyConfig) -> tuple[SFTConfig, RLConfig, ScaleConfig]:
    """The settings of a variant's stages; runs of the same settings have the same folder."""
    problems = "data" if config.numbers == 3 else f"{config.work}/data-{config.numbers}"
    everywhere = ("preset", "seed", "device", "threads")
    told = lambda *names, **values: {"data": problems, **{name: getattr(config, name) for name in (*everywhere, *names)}, **values}
    smaller = lambda *names: {name: getattr(config, name) for name in names if getattr(config, name)}
    sft_config = from_flags(SFTConfig, told("workers", **variant.sft | smaller("traces")))
    sft_config = replace(sft_config, out=f"{config.work}/sft-{digest(METHOD, settings(sft_config))}")
    flags = study.common | variant.rl | smaller("steps", "prompts") | {"init": f"{sft_config.out}/final"}
    if flags.get("data") == "hard":
        flags["data"] = f"{sft_config.out}-hard.jsonl"
    rl_config = from_flags(RLConfig, told("workers", **flags))
    rl_config = replace(rl_config, checkpoint_every=max(1, rl_config.steps // 10))
    rl_config = replace(rl_config, out=f"{config.work}/rl-{digest(METHOD, settings(sft_config), settings(rl_config))}")
    measured = from_flags(ScaleConfig, told("problems", samples=study.samples))
    return sft_config, rl_config, measured


def settings(config: StageConfig) -> dict:
    """What decides a stage's results: not where things are, nor how often it saves."""
    elsewhere = ("out", "resume", "exercise", "state_every", "keep_last", "threads", "workers")
    kept = {name: value for name, value in config.to_dict().items() if name not in elsewhere}
    return kept | {"data": Path(config.data).name} | ({"init": ""} if isinstance(config, RLConfig) else {})


def digest(*content) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def ensure(stage, config: StageConfig) -> None:
    """Runs a stage unless its folder has its end; one that was stopped goes on."""
    if (Path(config.out) / "final").exists():
        return
    stage.run(from_flags(type(config), {"resume": config.out}) if (Path(config.out) / "config.json").exists() else config)


def measure(config: ScaleConfig) -> dict:
    """A policy on the test problems: t1mini.evaluate's figures, the budget curve, and how often the thinking recovers from a miss.

    `correct` has a digit a problem: its right responses, in base 36. `curve` is accuracy by budget, and `curve_correct` the same digits by budget.
    """
    problems = evaluate.pick_problems(config)
    policy, tokenizer = load_policy(config.init[0], config.device)
    rollouts = evaluate.sample_responses(policy, tokenizer, problems, config)
    verdicts = judge_rollouts(config, problems, rollouts, tokenizer)
    curve = inference_scaling.budget_curve(policy, tokenizer, problems, rollouts, config)  # [budgets, problems, samples]
    results = evaluate.summarise(countdown, problems, verdicts)
    low, high = results["interval"]
    kept = {name: value for name, value in results.items() if "interval" not in name}
    missed, recovered = recoveries(problems, verdicts)
    return {**kept, "low": low, "high": high, "missed_first": missed, "recovered": recovered,
            "budgets": json.dumps(config.budgets), "curve": json.dumps([round(x, 4) for x in curve.mean(axis=(1, 2)).tolist()]),
            "correct": digits(np.array([[v.correct for v in group] for group in verdicts])), "curve_correct": " ".join(map(digits, curve))}


def recoveries(problems: list, verdicts: list[list[Verdict]]) -> tuple[float, float]:
    """Shares of responses whose first attempt misses, and of those that end right nevertheless."""
    tried = [(problem, v, countdown.attempts(v.text)) for problem, group in zip(problems, verdicts) for v in group]
    missed = [v.correct for problem, v, attempts in tried if attempts and not countdown.hits(problem, attempts[:1])]
    return len(missed) / len(tried), float(np.mean(missed)) if missed else 0.0


def digits(correct: np.ndarray) -> str:
    """[problems, samples] as a digit a problem."""
    return "".join(np.base_repr(int(c), 36) for c in correct.sum(axis=-1))


def write_hard_problems(path: Path, sft_config: SFTConfig, config: StudyConfig) -> None:
    """Training problems that the SFT model solves in at most 30% of 16 samples (T1, section on data)."""
    if path.exists():
        return
    c = from_flags(evaluate.EvaluateConfig, {"preset": config.preset, "seed": config.seed, "device": config.device, "threads": config.threads,
                                             "data": sft_config.data, "samples": 16, "split": SPLITS[0], "problems": config.problems or FILTERED})
    problems = evaluate.pick_problems(c)
    policy, tokenizer = load_policy(f"{sft_config.out}/final", config.device)
    verdicts = judge_rollouts(c, problems, evaluate.sample_responses(policy, tokenizer, problems, c), tokenizer)
    countdown.save_problems(path, [p for p, group in zip(problems, verdicts) if np.mean([v.correct for v in group]) <= 0.3])
