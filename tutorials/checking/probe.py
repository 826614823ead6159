"""What a training step does, in a few numbers: three updates of the small SFT model, and verdicts on answers.

Run in a process of its own with a changed copy of the package in place of the library.
"""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # noqa: F401  loading a model imports it: here once, for all that fork

from checking.runner import NOTHING, attempt, limit_resources, write
from checking.values import pack, unpack

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ("answer 3 + 4 * 11", "answer 7 * 11 + 0", "answer 11 * 7 * 1", "answer 4 + 3 * 11", "answer none",
           "answer 3 * 4 + 11")


def run(job: str) -> None:
    """job/job.npz holds a bug's number and a line to put in its place."""
    from checking.bugs import make_broken

    folder = Path(job)
    limit_resources(folder / "printed.txt")
    torch.set_num_threads(1)
    with np.load(folder / "job.npz", allow_pickle=False) as arrays:
        number, line = unpack(arrays)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        copy = make_broken(number, Path(work), line)
        for name in [name for name in sys.modules if name.split(".")[0] == "t1mini"]:
            del sys.modules[name]
        sys.path.insert(0, str(copy.parent))
        outcome = attempt(behaviour, "") | NOTHING
    write(folder / "0.npz", pack(outcome))
    os._exit(0)


def behaviour() -> dict[str, float]:
    """Three updates with strong penalties, KL and entropy bonus, so that every part of the step shows."""
    from t1mini.fast import twins
    from t1mini.penalties import is_repetitive
    from t1mini.reference import EMAReference
    from t1mini.rl import RLConfig, t1_step
    from t1mini.runs.checkpoint import load_policy
    from t1mini.runs.optimiser import Optimiser
    from t1mini.runs.team import Team
    from t1mini.tasks import countdown
    from t1mini.tasks.countdown import Problem

    config = RLConfig(prompts=4, k=3, max_new_tokens=40, lr=2e-3, kl_coef=0.5, entropy_coef=0.01,
                      ema_decay=0.9, min_p=0.05, repeat_limit=1, threads=1, micro_batch_tokens=256, steps=3)
    policy, tokenizer = load_policy(str(ROOT / "data/tiny-sft"), "cpu")
    problems = countdown.load_problems(ROOT / "data/train.jsonl")
    reference = EMAReference(policy, config.ema_decay)
    optimiser = Optimiser(policy, Team(), lr=config.lr, steps=3, warmup=1, clip=1.0, weight_decay=0.0)
    found = {f"verdict on {text!r}": float(countdown.is_correct(Problem((3, 4, 11), 77), text))
             for text in ANSWERS}
    found |= {f"verdict on {times} equal attempts, limit 2": float(is_repetitive([7] * times, 1, 2))
              for times in (2, 3)}
    for step in range(config.steps):
        row, _ = t1_step(step, problems[4 * step : 4 * step + 4], range(4), policy, reference, optimiser,
                         tokenizer, config, *twins(config))
        found |= {f"{name} of update {step + 1}": float(value) for name, value in row.items()
                  if name != "logprob_gap"}
    return found | {"size of the weights": sum(p.double().square().sum().item() for p in policy.parameters())}


def first_difference(sound: dict[str, float], other: dict[str, float]) -> str:
    """The first number that is not the same, in words; "" where all are."""
    for name, value in sound.items():
        if name not in other or abs(other[name] - value) > 1e-4 * max(1.0, abs(value)):
            return f"{name} is {other.get(name, float('nan')):.6g}, it should be {value:.6g}"
    return ""
