"""Settings: one frozen dataclass a stage, and a command line made from it.

A stage declares its settings once, help text and range beside each:

    @dataclass(frozen=True)
    class RLConfig(StageConfig):
        k: int = setting(16, "responses sampled for each prompt", "2 to 65_536", gpu=64)

The value in front is the `tiny` preset, `gpu=` the larger one, `qwen=` that of the presets for real
checkpoints, which otherwise follow `gpu=`, `smollm=` that of the smallest of them, which is for two cores.
From this `add_flags` makes `--k` with its help, `from_flags` checks the range before any work starts, and
`to_dict` is what a run saves as config.json.

`--resume RUN` takes every setting from RUN/config.json: a folder from elsewhere is checked like anything
typed. Settings of MAY_CHANGE can be given anew; any
other that differs is refused, because the run would no longer be the one that was begun.

See them all: python -m t1mini rl --help
"""

import argparse
import json
import os
import re
import runpy
from dataclasses import dataclass, field, fields
from pathlib import Path

QWEN = ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen3-0.6b", "qwen3-1.7b")
SMOLLM = "smollm2-135m"
REAL = (SMOLLM, *QWEN)  # checkpoints with a preset of their own
SMALL_CACHE = {"qwen3-0.6b": 80_000, "qwen3-1.7b": 80_000}  # tokens at once: their caches take 115 kB each
PRESETS = ("tiny", "gpu", *REAL)
PRECISIONS = ("float32", "bfloat16")
# what --resume may change: it decides memory, speed and what is kept, and at most the last digits of a result
MAY_CHANGE = ("micro_batch_tokens", "max_batch_tokens", "recompute", "reference_on_cpu", "workers",
              "state_every", "keep_last", "checkpoint_every")


class UserError(Exception):
    """A mistake the user can mend. The command line prints it as one line and exits with code 2."""


class Parser(argparse.ArgumentParser):
    """Shows a text as it is written; its errors are one line, without the list of flags."""

    def __init__(self, prog, text):
        super().__init__(prog, description=text, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        raise UserError(f"{message}; see {self.prog} --help")


def setting(default, help: str, within: str = "", choices=(), positional=False, **presets):
    """A dataclass field with its help text and its rules.

    within              its range: "2 to 64", "1 or more", "above 0, to 1", "0, or 0.001 to 100"
    choices             or the values it may have
    positional          written without a flag
    gpu=, qwen=, ...    its value in that preset
    """
    several = isinstance(default, tuple)
    kind = type((*default, "")[0] if several else default)
    nargs = "*" if positional else "+" if several else None
    options = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "nargs": nargs}
    values = {"default": default, **presets}
    within = "one of " + ", ".join(choices) if choices else within
    shown = "; ".join(f"{name}: {value}" for name, value in values.items())
    return field(default=default, metadata={
        "kind": kind, "within": within, "positional": positional, "values": values,
        "options": options | {"help": f"{help} ({shown})"},
    })


def is_within(x, within: str):
    """
    >>> [is_within(x, "0, or 0.5 to 2") for x in (0, 0.25, 2)], is_within(0, "above 0")
    ([True, False, True], False)
    >>> is_within("c", "one of a, b"), is_within("c", "")
    (False, True)
    """
    if not within or isinstance(x, str):
        return not within or x in within.removeprefix("one of ").split(", ")
    numbers = [*map(float, re.findall(r"[\d._]+", within))]
    # without a limit, since JSON has no infinity
    *also, least, most = numbers if " to " in within else [*numbers, 1e300]
    return x in also or least <= x <= most and (x > least or "above" not in within)


@dataclass(frozen=True)
class StageConfig:
    """What every stage takes."""

    preset: str = setting("tiny", f"{', '.join(PRESETS)}; the first and {SMOLLM} for a CPU, others for a GPU",
                          choices=PRESETS)
    out: str = setting("", "folder to write to (default: runs/STAGE-PRESET-SEED)")
    seed: int = setting(0, "the run's one source of randomness", "0 to 2_147_483_647")
    device: str = setting("cpu", "torch device, such as cpu, cuda or cuda:0", gpu="cuda", smollm="cpu")
    threads: int = setting(0, "CPU threads; 0 means every core this process may use", "0 to 1024")

    def to_dict(self):
        """Every setting, with the number of threads in place of 0."""
        return vars(self) | {"threads": self.threads or usable_cores()}


@dataclass(frozen=True)
class TrainingConfig(StageConfig):
    """What a stage takes that trains."""

    resume: str = setting("", "folder of an earlier run to go on with, with its own settings")
    clip: float = setting(1.0, "largest norm of the gradient, scaled down to it", "above 0, and finite")
    precision: str = setting("float32", "what the model computes in; weights stay float32",
                             choices=PRECISIONS, gpu="bfloat16")
    save_precision: str = setting("float32", "what checkpoints are written in", choices=PRECISIONS)
    recompute: bool = setting(False, "keep no activations within a layer: less memory, more time", qwen=True)
    plain: bool = setting(False, "the plain twins of generate and score, for reading along")
    keep_last: int = setting(2, "saved states to keep, the oldest go", "1 or more")
    workers: int = setting(2, "processes that share training and threads; never more than threads",
                           "1 to 1024", gpu=1)


def add_flags(parser, config_class: type):
    """Adds one --flag a field, for tuples with several values. What is left away is not among the parsed."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    for f in fields(config_class):
        parser.add_argument(f.name if f.metadata["positional"] else flag(f.name), **f.metadata["options"])


def from_flags(config_class: type, flags: dict):
    """A stage's settings: flags given, else the preset's values, else the defaults; or a run's to resume.

    UserError names a flag that is out of range, or not the run's and not of MAY_CHANGE.
    """
    if "resume" not in flags:
        if flags.get("task", "countdown") != "countdown":  # the problems at hand are Countdown's
            flags = {"data": ""} | flags
        return checked(config_class, flags.get("settings", flags))
    run = flags["resume"]
    path = Path(run, "config.json")
    if not run or not path.is_file():
        raise UserError(f"cannot go on with {run}: it holds no config.json; --resume takes a run's folder")
    try:
        saved = {**json.loads(path.read_bytes()), "out": run, "resume": run}
        for origin in ("made_by", "begun_with"):
            saved.pop(origin, None)
        begun = vars(checked(config_class, saved))
    except (UserError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"cannot go on with {run}: its config.json is of no run of this stage: "
                        f"{error}"[:400]) from None
    config = checked(config_class, begun | flags)
    for name, now in vars(config).items():
        if now != begun[name] and name not in MAY_CHANGE:
            raise UserError(f"{flag(name)} {now}: {run} was begun with {begun[name]}, and keeps it; "
                            "leave it away, or begin a new run")
    return config


def checked(config_class: type, given: dict):
    """The settings `given`, others as in the preset. UserError names one of another type or out of range."""
    preset = given.get("preset")
    names = ("default", "gpu", "qwen", preset) if preset in REAL else ("default", preset)
    names += ("smollm",) * (preset == SMOLLM)
    settings = {f.name: f.metadata["values"][name] for name in names for f in fields(config_class)
                if name in f.metadata["values"]}
    settings |= {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}
    config = config_class(**settings)
    for f in fields(config):
        value, kind, within = settings[f.name], f.metadata["kind"], f.metadata["within"]
        for x in value if isinstance(value, tuple) else (value,):
            if type(value) is not type(f.default) or type(x) is not kind or not is_within(x, within):
                raise UserError(f"{flag(f.name)} {x}: must be {within or kind.__name__}")
    return config


def default_out(config, stage):
    """--out, or the first free name of runs/STAGE-PRESET-SEED, runs/STAGE-PRESET-SEED-2 ..."""
    name = first = f"runs/{stage}-{config.preset}-{config.seed}"
    i = 1
    while os.path.exists(name):
        i += 1
        name = f"{first}-{i}"
    return Path(config.out or name)


def usable_cores():
    """Cores this process may run on, which on a shared machine can be fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_file(flag, path: str, instead: str):
    """The names that a reader's Python file defines. UserError where there is none, or where it fails."""
    if not os.path.isfile(path):
        raise UserError(f"{flag} {path}: {instead}")
    try:
        return runpy.run_path(path)
    except (Exception, SystemExit) as error:  # the reader's code may raise anything
        raise UserError(f"{flag} {path}: {type(error).__name__}: {error}") from None


def flag(name):
    return "--" + name.replace("_", "-")
