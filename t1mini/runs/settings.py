"""Settings: one frozen dataclass a stage, and a command line made from it.

A stage declares its settings once, help text and range beside each:

    @dataclass(frozen=True)
    class RLConfig(StageConfig):
        k: int = setting(16, "responses sampled for each prompt", "2 to 65_536", gpu=64)

The value in front is the `tiny` preset, `gpu=` the larger one, `qwen=` that of the four presets for Qwen
checkpoints, which otherwise follow `gpu=`. From this `add_flags` makes `--k` with its help, `from_flags`
checks the range before any work starts, and `to_dict` is what a run saves as config.json.

`--resume RUN` takes every setting from RUN/config.json, which is read as the command line it stands for:
a folder from elsewhere is checked like anything typed. Settings of MAY_CHANGE can be given anew; any
other that differs is refused, because the run would no longer be the one that was begun.

See them all: python -m t1mini rl --help
"""

import argparse
import dataclasses
import json
import os
import re
from dataclasses import Field, dataclass, fields
from pathlib import Path

QWEN = ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen3-0.6b", "qwen3-1.7b")  # checkpoints with a preset of their own
SMALL_CACHE = {"qwen3-0.6b": 80_000, "qwen3-1.7b": 80_000}  # tokens at once: their caches take 115 kB each
PRESETS = ("tiny", "gpu", *QWEN)
PRECISIONS = ("float32", "bfloat16")
# what --resume may change: it decides memory, speed and what is kept, and at most the last digits of a result
MAY_CHANGE = ("micro_batch_tokens", "max_batch_tokens", "recompute", "reference_on_cpu", "workers",
              "state_every", "keep_last", "checkpoint_every")


class UserError(Exception):
    """A mistake the user can mend. The command line prints it as one line and exits with code 2."""


class Parser(argparse.ArgumentParser):
    """Errors are one line, without the list of flags."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")


def parse(config_class: type, words: list[str], **options) -> dict:
    """The flags among `words` with their values, for `from_flags`; `options` are argparse's."""
    parser = Parser(allow_abbrev=False, **options)
    add_flags(parser, config_class)
    return vars(parser.parse_args(words))


def setting(default, help: str, within: str = "", **rules):
    """A dataclass field with its help text and its rules.

    within                  its range: "2 to 64", "1 or more", "above 0, to 1", "0, or 0.001 to 100"
    choices=                the values it may have
    positional=True         written without a flag
    gpu=, qwen=, ...        its value in that preset
    """
    metadata = {"help": help, "within": within, **rules}
    return dataclasses.field(default=default, metadata=metadata)


def is_within(x: float, words: str) -> bool:
    """
    >>> [is_within(x, "0, or 0.5 to 2") for x in (0, 0.25, 2)], is_within(0, "above 0")
    ([True, False, True], False)
    """
    if not words or words.startswith("0, or") and x == 0:
        return True
    least, _, most = words.removeprefix("0, or ").replace(",", "").partition(" to ")
    strict, least = least.startswith("above"), float(re.search(r"[\d._]+", least)[0])
    return (x > least if strict else x >= least) and x <= float(most or "inf")


@dataclass(frozen=True)
class StageConfig:
    """What every stage takes."""

    preset: str = setting("tiny", f"tiny for a CPU, others for a GPU: {', '.join(PRESETS)}", choices=PRESETS)
    out: str = setting("", "folder to write to (default: runs/STAGE-PRESET-SEED)")
    seed: int = setting(0, "the run's one source of randomness", "0 to 2_147_483_647")
    device: str = setting("cpu", "torch device, such as cpu, cuda or cuda:0", gpu="cuda")
    threads: int = setting(0, "CPU threads; 0 means every core this process may use", "0 to 1024")

    def to_dict(self) -> dict:
        """Every setting, with the number of threads in place of 0."""
        return dataclasses.asdict(self) | {"threads": self.threads or usable_cores()}


@dataclass(frozen=True)
class TrainingConfig(StageConfig):
    """What a stage takes that trains."""

    resume: str = setting("", "folder of an earlier run to go on with, with its own settings")
    clip: float = setting(1.0, "gradient norm to clip to", "above 0")
    precision: str = setting("float32", "what the model computes in; weights stay float32",
                             choices=PRECISIONS, gpu="bfloat16")
    save_precision: str = setting("float32", "what checkpoints are written in", choices=PRECISIONS)
    recompute: bool = setting(False, "keep no activations within a layer: less memory, more time", qwen=True)
    plain: bool = setting(False, "the plain twins of generate and score, for reading along")
    keep_last: int = setting(2, "saved states to keep, the oldest go", "1 or more")
    workers: int = setting(2, "processes that share training and threads; never more than threads",
                           "1 to 1024", gpu=1)


def add_flags(parser: argparse.ArgumentParser, config_class: type):
    """Adds one --flag a field, for tuples with several values. What is left away is not among the parsed."""
    for f in fields(config_class):
        several = isinstance(f.default, tuple)
        kind = type((f.default or ("",))[0] if several else f.default)
        options = {"help": _help(f), "default": argparse.SUPPRESS}
        if "positional" in f.metadata:
            parser.add_argument(f.name, nargs="*", type=kind, **options)
            options["help"] = argparse.SUPPRESS  # for `read_saved` a flag as well
        if kind is bool:
            parser.add_argument(_flag(f.name), action=argparse.BooleanOptionalAction, **options)
        else:
            metavar, nargs = kind.__name__.upper(), "+" if several else None
            parser.add_argument(_flag(f.name), type=kind, nargs=nargs, metavar=metavar, **options)


def from_flags(config_class: type, flags: dict):
    """A stage's settings: flags given, else the preset's values, else the defaults; or a run's to resume.

    UserError names a flag that is out of range, or not the run's.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}
    if "resume" in given:
        return resumed(config_class, given)
    preset = given.get("preset", PRESETS[0])
    return checked(config_class(**{f.name: _default(f, preset) for f in fields(config_class)} | given))


def to_flags(settings: dict) -> list[str]:
    """The command line that gives these settings; what cannot be given empty is left away.

    >>> to_flags({"k": 4, "penalties": False, "budgets": (20, 40), "resume": ""})
    ['--k', '4', '--no-penalties', '--budgets', '20', '40']
    """
    words = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(_flag(name if value else f"no-{name}"))
        elif value not in ((), []) and (value != "" or name not in ("out", "resume")):
            words += [_flag(name), *map(str, _each(value))]
    return words


def checked(config):
    """`config`. UserError where a setting is out of its range, naming the flag and the range."""
    for f in fields(config):
        rules = f.metadata
        for x in _each(getattr(config, f.name)):
            if x not in rules.get("choices", (x,)):
                choices = ", ".join(filter(None, rules["choices"]))
                raise UserError(f"{_flag(f.name)} {x}: choose one of {choices}")
            if not is_within(x, rules["within"]):
                raise UserError(f"{_flag(f.name)} {x}: must be {rules['within']}")
    return config


def resumed(config_class: type, given: dict):
    """The settings of the run to resume, those of MAY_CHANGE as given. UserError where another differs."""
    run = given["resume"]
    saved = read_saved(config_class, run)
    for name, value in given.items():
        before = getattr(saved, name)
        if value != before and name not in MAY_CHANGE:
            now, before = (" ".join(to_flags({name: x})) for x in (value, before))
            advice = "leave it away, or begin a new run"
            raise UserError(f"{now}: {run} was begun with {before}, and keeps it; {advice}")
    return checked(dataclasses.replace(saved, **given))


def read_saved(config_class: type, run: str):
    """The settings that a run saved. UserError where the folder holds none, or another stage's."""
    path = Path(run, "config.json")
    if not run:
        raise UserError("--resume: which folder?")
    if not path.is_file():
        raise UserError(f"cannot go on with {run}: it holds no config.json; --resume takes a run's folder")
    try:
        saved = dict(json.loads(path.read_text(encoding="utf-8"))) | {"resume": ""}
        saved.pop("made_by", None)
        flags = parse(config_class, to_flags(saved), prog="python -m t1mini STAGE", add_help=False)
        config = from_flags(config_class, flags)
    except (UserError, OSError, ValueError, TypeError, RecursionError) as error:
        what = f"its config.json is of no run of this stage: {str(error)[:200]}"
        raise UserError(f"cannot go on with {run}: {what}") from None
    return dataclasses.replace(config, out=run, resume=run)


def default_out(config, stage: str) -> Path:
    """--out, or the first free name of runs/STAGE-PRESET-SEED, runs/STAGE-PRESET-SEED-2 ..."""
    name = first = config.out or f"runs/{stage}-{config.preset}-{config.seed}"
    i = 1
    while os.path.exists(name) and not config.out:
        i += 1
        name = f"{first}-{i}"
    return Path(name)


def usable_cores() -> int:
    """Cores this process may run on, which on a shared machine can be fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default(f: Field, preset: str):
    """A setting's value in a preset."""
    for name in (preset, "qwen", "gpu") if preset in QWEN else (preset,):
        if name in f.metadata:
            return f.metadata[name]
    return f.default


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _help(f: Field) -> str:
    presets = {name: f.metadata[name] for name in (*PRESETS, "qwen") if name in f.metadata}
    values = {"default": f.default, **presets}
    shown = "; ".join(f"{name}: {' '.join(map(str, _each(value)))}" for name, value in values.items())
    text = f.metadata["help"] + (f" ({shown})" if f.default not in ("", ()) else "")
    return text.replace("%", "%%")


def _each(value) -> list | tuple:
    """The values of a setting that takes several; of another its one."""
    return value if isinstance(value, (list, tuple)) else (value,)
