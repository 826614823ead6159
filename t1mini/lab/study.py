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
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from t1mini import evaluate, inference_scaling, rl, sft
from t1mini.lab import data
from t1mini.lab.exercise import LIBRARY, in_place
from t1mini.lab.findings import STUDIES
from t1mini.lab.train import TrainConfig, ensure, measure, resumed, stage_config
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.folder import RunFolder, csv_text, read_rows
from t1mini.runs.settings import UserError, from_flags, setting
from t1mini.tasks import countdown

STEP_COLUMNS = "step reward accuracy length entropy kl repetitive overlong garbled".split()


@dataclass(frozen=True)
class StudyConfig(TrainConfig):
    studies: tuple = setting((), "which studies; none lists them", choices=("all", *STUDIES), positional=True)
    out: str = setting("", "folder of rows and runs (default: runs/study-PRESET-NUMBERS)")
    numbers: int = setting(3, "numbers that a problem gives; 4 are harder", "3 to 4", gpu=4)
    variants: tuple = setting((), "only these variants, by their names in the tables (default: all)")
    seeds: tuple = setting((0, 1, 2), "seeds, of SFT and RL alike", "0 to 2_147_483_647")
    prompts: int = setting(0, "prompts an update; 0 means the study's", "0 to 65_536")
    samples: int = setting(0, "responses to each test problem; 0 means the study's", "0 to 35")


def run(config):
    if not config.studies:
        for name, study in STUDIES.items():
            print(f"{name:17}{len(study.variants)} variants   {study.shows}")
        return
    names = STUDIES if "all" in config.studies else config.studies
    for name, label in product(names, config.variants):
        if label not in STUDIES[name].variants:
            raise UserError(f"--variants {label}: {name} has {', '.join(map(repr, STUDIES[name].variants))}")
    config = resumed(replace(config, out=config.out or f"runs/study-{config.preset}-{config.numbers}"))
    if config.resume:  # an earlier sitting, which may differ in what was made
        kept = config.to_dict()
        for name in ("studies", "variants", "seeds"):
            del kept[name]
        from_flags(StudyConfig, kept)  # UserError where another setting differs
    with RunFolder(config, "study") as folder:
        data.write(folder.path / "data", config.numbers)
        for name in names:
            variants = list(config.variants or STUDIES[name].variants)
            for seed, (i, label) in product(config.seeds, enumerate(variants, 1)):
                print(f"{name}, seed {seed}, variant {i} of {len(variants)}: {label}", flush=True)
                run = {"variant": label, "seed": str(seed)}
                if not any(run.items() <= row.items() for row in read_rows(folder.path / f"{name}.csv")):
                    add_row(folder, name, run, replace(config, seed=seed))
            print(f"see python -m t1mini plot {name} --text --studies {folder.path}")


def add_row(folder, name, run: dict, config):
    """Trains one variant with one seed, measures it, and adds what was found to the study's two files."""
    began, study, problems = time.perf_counter(), STUDIES[name], f"{folder.path}/data"
    changes = {"share": 1.0, **study.common, **study.variants[run["variant"]]}
    of_sft = trained(folder, sft, stage_config(sft.SFTConfig, config, data=problems, **changes))
    policy = Path(of_sft.out, "final")
    stages, steps = {"sft": json.dumps(of_sft.to_dict()), "rl": ""}, []
    if changes["share"]:
        of_rl = hard_problems(policy, problems, config) if "hard" in changes else problems
        of_rl = stage_config(rl.RLConfig, config, data=of_rl, init=str(policy), **changes)
        every = 1 if of_rl.steps % 10 else of_rl.steps // 10
        of_rl = trained(folder, rl, replace(of_rl, checkpoint_every=every))
        stages["rl"] = json.dumps(of_rl.to_dict())
        updates = max(1, round(changes["share"] * of_rl.steps))
        policy = Path(of_rl.out, f"step-{updates:04d}")
        steps = [step for step in read_rows(Path(of_rl.out, "metrics.csv")) if int(step["step"]) <= updates]
        write(folder, f"{name}-steps.csv", run,
              [run | {column: step[column] for column in STEP_COLUMNS} for step in steps])
    test = stage_config(inference_scaling.ScaleConfig, config, data=problems, samples=study.samples)
    write(folder, f"{name}.csv", run, [{
        "study": name, **run, "preset": config.preset, "share_of_rl": changes["share"],
        **figures(policy, test),
        **{f"last_{column}": np.mean([float(step[column]) for step in steps[-10:]]) if steps else ""
           for column in ("reward", "entropy", "kl")},
        "seconds": time.perf_counter() - began, **folder.made_by, **stages,
    }])


def write(folder, file, run, rows):
    """Puts a run's rows into a file, in place of those that it may have there."""
    others = [row for row in read_rows(folder.path / file) if not run.items() <= row.items()]
    folder.write_text(file, csv_text(others + rows))


def trained(folder, stage, config):
    """Runs a stage, unless it has been, in the folder its settings name. Returns them with that folder."""
    digest = hashlib.sha256(repr(config).encode()).hexdigest()
    config = replace(config, out=f"{folder.path}/{stage.__name__.removeprefix('t1mini.')}-{digest[:10]}")
    with in_place(variant(config)):
        ensure(stage, config, folder.resume)
    return config


def hard_problems(policy: Path, problems, config):
    """A file of the training problems that a policy solves in at most 30% of 16 samples (T1, on data)."""
    path = policy.with_name("hard.jsonl")
    if not path.exists():
        of_all = stage_config(evaluate.EvaluateConfig, config, data=problems, split="train")
        of_all = replace(of_all, problems=6000, samples=16)
        chosen = evaluate.pick_problems(of_all)
        _, verdicts = evaluate.respond(*load_policy(policy, config.device), chosen, of_all)
        hard = [problem for problem, group in zip(chosen, verdicts)
                if sum(v.correct for v in group) <= 0.3 * 16]
        countdown.save_problems(path, hard)
    return str(path)


def figures(policy: Path, config):
    """A policy's evaluation, its budget curve, and how often its thinking recovers from a miss.

    `correct` has a digit a problem: its right responses, in base 36. `curve` is accuracy by budget, and
    `curve_correct` has the digits by budget. `missed_first` is the share of responses whose first attempt
    misses, `recovered` that of those which end right nevertheless.
    """
    problems = evaluate.pick_problems(config)
    results, (curve, _), verdicts = measure(policy, problems, config)
    missed = [v.correct for problem, group in zip(problems, verdicts) for v in group
              if (attempts := countdown.attempts(v.text)) and not countdown.hits(problem, attempts[:1])]
    return {
        **{name: value for name, value in results.items() if "interval" not in name},
        **dict(zip(("low", "high"), results["interval"])),
        "missed_first": len(missed) / curve[0].size,
        "recovered": np.mean(missed or 0),
        "budgets": json.dumps(config.budgets),
        "curve": json.dumps(curve.mean(axis=(1, 2)).round(4).tolist()),
        "correct": digits([[v.correct for v in group] for group in verdicts]),
        "curve_correct": " ".join(map(digits, curve)),
    }


def digits(correct):
    """[problems, samples] as a digit a problem, in base 36: so --samples is at most 35.

    >>> digits([[1, 0, 1], [0, 0, 0]])
    '20'
    """
    return "".join(np.base_repr(int(c), 36) for c in np.sum(correct, axis=-1))


# reward minus the mean reward of all the prompt's responses, its own too: so the KL is centred
mean_advantages = LIBRARY["centred_kl"]


def standardised_advantages(rewards):
    """That over the group's standard deviation, as in GRPO; tied groups 0. [P, K] -> [P, K]

    >>> standardised_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[ 1.5000, -0.5000, -0.5000, -0.5000],
            [ 0.0000,  0.0000,  0.0000,  0.0000]])
    """
    return mean_advantages(rewards) / rewards.std(-1, keepdim=True).clamp_min(1e-6)


def others_advantages(rewards):
    """Leave-one-out of the rewards that another prompt's responses earned: a control, for it says nothing.

    It takes two prompts a rank, or more.

    >>> others_advantages(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor([[ 0.,  0.],
            [ 1., -1.]])
    """
    return LIBRARY["rloo_advantages"](rewards.roll(1, 0))


def without_cut_off(config, logprobs, advantages, mask, **others):
    """The loss of responses that end before the limit: one cut off there gives no gradient, whatever it
    earned (DAPO, overlong filtering)."""
    ended = mask.sum(-1, keepdim=True) < config.max_new_tokens
    return LIBRARY["policy_gradient_loss"](logprobs, advantages, mask & ended, **others)


def shared_out(config, logprobs, advantages, mask, *, normaliser, **bonus):
    """The loss with A * mean length / length: a response's tokens share its advantage, long or short."""
    mean_length = normaliser / (config.prompts * config.k)
    advantages = advantages * mean_length / mask.sum(-1)
    return LIBRARY["policy_gradient_loss"](logprobs, advantages, mask, normaliser=normaliser, **bonus)


def variant(config):
    """What `config.variant` puts in the place of the library's functions. UserError for another name."""
    known = {
        "": {},
        "mean": {"rloo_advantages": mean_advantages},
        "std": {"rloo_advantages": standardised_advantages},
        "length": {"policy_gradient_loss": partial(shared_out, config)},
        "random": {"rloo_advantages": others_advantages},
        "masked": {"policy_gradient_loss": partial(without_cut_off, config)},
    }
    name = getattr(config, "variant", "")
    if name not in known:
        raise UserError(f"--variant {name}: choose one of {', '.join(filter(None, known))}")
    return known[name]
