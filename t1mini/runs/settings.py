"""Settings: one frozen dataclass a stage, and a command line made from it.

A stage declares its settings once, help text and range beside each:

    @dataclass(frozen=True)
    class RLConfig(StageConfig):
        k: int = setting(16, "responses sampled for each prompt", low=2, gpu=64)

The value in front is the `tiny` preset, `gpu=` the larger one, `qwen=` that of the four presets for Qwen checkpoints, which
otherwise follow `gpu=`. From this `add_flags` makes `--k` with its help,
`from_flags` checks the range before any work starts, and `to_dict` is what a run saves as config.json.

See them all: python -m t1mini rl --help
"""

import argparse
import dataclasses
import itertools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

QWEN = ("qwen2.5-0.5b", "qwen2.5-1.5b", "qwen3-0.6b", "qwen3-1.7b")  # checkpoints that have a preset of their own
SMALL_CACHE = {"qwen3-0.6b": 80_000, "qwen3-1.7b": 80_000}  # tokens at once: these two keep 115 kB a token in their KV cache
PRESETS = ("tiny", "gpu", *QWEN)
AT_WILL = ("micro_batch_tokens", "max_batch_tokens", "state_every", "keep_last", "checkpoint_every", "recompute", "reference_on_cpu",
           "workers")  # what --resume may change: it decides memory, speed and what is kept (and the last digits, by the order of sums)


class UserError(Exception):
    """A mistake the user can mend. The command line prints it as one line and exits with code 2."""


def setting(default, help, *, low=None, high=None, above=None, or_zero=False, choices=None, positional=False, **presets):
    """A dataclass field with its help text, its range (low <= x <= high, x > above, or 0) and its value in other presets."""
    rules = {"help": help, "low": low, "high": high, "above": above, "or_zero": or_zero, "choices": choices,
             "positional": positional, "presets": presets}
    return field(default=default, metadata=rules)


@dataclass(frozen=True)
class StageConfig:
    """What every stage takes."""

    preset: str = setting("tiny", f"set of defaults: tiny for a 2-core CPU; gpu, and those for checkpoints, for one GPU: {', '.join(PRESETS)}",
                          choices=PRESETS)
    out: str = setting("", "folder to write to (default: runs/STAGE-PRESET-SEED)")
    seed: int = setting(0, "the run's one source of randomness", low=0, high=2**31 - 1)
    device: str = setting("cpu", "torch device, such as cpu, cuda or cuda:0", gpu="cuda")
    threads: int = setting(0, "CPU threads for torch; 0 means every core this process may use", low=0, high=1024)

    def to_dict(self) -> dict:
        """Every setting, with the number of threads in place of 0."""
        return dataclasses.asdict(self) | {"threads": self.threads or usable_cores()}


def add_flags(parser: argparse.ArgumentParser, config_class: type) -> None:
    """Adds one --flag a field. Fields of tuple type take one or more values."""
    for f in dataclasses.fields(config_class):
        kind = type(f.default[0] if f.default else "") if isinstance(f.default, tuple) else type(f.default)
        options = {"help": _help(f), "default": None}
        if f.metadata["positional"]:
            parser.add_argument(f.name, nargs="*", type=kind, **options)
        elif kind is bool:
            parser.add_argument(_flag(f), action=argparse.BooleanOptionalAction, **options)
        else:
            nargs = "+" if isinstance(f.default, tuple) else None
            parser.add_argument(_flag(f), type=kind, metavar=kind.__name__.upper(), nargs=nargs, **options)


def from_flags(config_class: type, flags: dict):
    """Builds a stage's settings: flags given, else the run's to resume, else the preset's, else the default. UserError names a bad flag."""
    if flags.get("resume") == "":
        raise UserError("--resume: which folder?")
    if flags.get("resume"):
        flags = resumed(config_class, flags)
    preset = flags.get("preset") or PRESETS[0]
    values = {}
    for f in dataclasses.fields(config_class):
        given = flags.get(f.name)
        given = None if given == [] else given  # a positional left out
        values[f.name] = _preset_value(f, preset) if given is None else given
        if isinstance(f.default, tuple):
            values[f.name] = tuple(values[f.name])
    unknown = sorted(set(flags) - set(values))
    if unknown:
        raise UserError(f"unknown setting {', '.join(unknown)}; {config_class.__name__} has {', '.join(values)}")
    config = config_class(**values)
    check(config)
    return config


def resumed(config_class: type, flags: dict) -> dict:
    """The flags that the run in --resume was begun with, and those of AT_WILL given now. UserError where another says otherwise."""
    run = flags["resume"]
    saved = read_saved(config_class, Path(run) / "config.json")
    given = {name: value for name, value in flags.items() if value is not None and name != "resume"}
    if given.pop("out", run) != run:
        raise UserError(f"--out {flags['out']}: a run that is resumed goes on where it is, in {run}; leave --out away")
    for f in dataclasses.fields(config_class):
        value, before = given.get(f.name), saved.get(f.name)
        if value not in (None, before) and f.name not in AT_WILL and (f.name, value) != ("threads", 0):
            reason = "another number rounds differently" if f.name == "threads" else "a run keeps its settings"
            raise UserError(f"{_flag(f)} {_show(value)}: {run} was begun with {_show(before)}, and {reason}; leave it away, or begin a new run")
    return saved | {name: value for name, value in given.items() if name in AT_WILL} | {"resume": run}


def read_saved(config_class: type, path: Path) -> dict:
    """What a run saved as config.json, every value of its setting's type. UserError where it is not that."""
    if not path.is_file():
        raise UserError(f"cannot go on with {path.parent}: " + ("--resume takes a run's folder, not a file" if path.parent.is_file() else
                                                                f"it holds no {path.name}, so no run was begun there"))
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved.pop("made_by", None)
    except (OSError, ValueError, AttributeError, RecursionError, TypeError) as error:
        raise UserError(f"cannot go on with {path.parent}: {error}") from None
    if "model_type" in saved:
        raise UserError(f"cannot go on with {path.parent}: it is a checkpoint; --resume takes the run's folder, here perhaps {path.parent.parent}")
    stage, kinds = config_class.__name__.removesuffix("Config").lower(), {f.name: f.default for f in dataclasses.fields(config_class)}
    for name, value in saved.items():
        if name not in kinds or not _is_like(value, kinds[name]):
            raise UserError(f"cannot go on with {path.parent}: {name} {str(value)[:40]} in its {path.name} is no setting of {stage}; "
                            "if another stage began it, resume it with that one")
    try:
        check(config_class(**{name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}))
    except UserError as error:
        raise UserError(f"cannot go on with {path.parent}: its {path.name} says {error}") from None
    for name in ("init", "data"):
        if isinstance(saved.get(name), str) and not os.path.exists(saved[name] or "."):
            raise UserError(f"cannot go on with {path.parent}: its --{name} {saved[name]} is not there; was it begun in another folder? "
                            "Go on from that one")
    return saved


def _is_like(value, default) -> bool:
    """Whether `value`, from JSON, is of the type of a setting's default."""
    if isinstance(default, tuple):
        return isinstance(value, list) and all(_is_like(x, default[0] if default else "") for x in value)
    return type(value) is type(default) or type(default) is float and type(value) is int


def _preset_value(f: dataclasses.Field, preset: str):
    presets = f.metadata["presets"]
    fallback = presets.get("gpu", f.default)
    return presets.get(preset, presets.get("qwen", fallback) if preset in QWEN else f.default)


def check(config) -> None:
    """Raises UserError where a setting is out of its range, naming the flag and the range."""
    for f in dataclasses.fields(config):
        rules, flag = f.metadata, "" if f.metadata["positional"] else _flag(f)
        given = getattr(config, f.name)
        for value in given if isinstance(given, tuple) else (given,):
            if rules["choices"] and value not in rules["choices"]:
                raise UserError(f"{flag} {value}: choose one of {', '.join(filter(None, rules['choices']))}")
            too_low = rules["low"] is not None and not value >= rules["low"]
            too_low = too_low or (rules["above"] is not None and not value > rules["above"])
            too_high = rules["high"] is not None and not value <= rules["high"]
            if (too_low or too_high) and not (rules["or_zero"] and value == 0):
                raise UserError(f"{flag} {value}: must be {_range(rules)}")


def to_flags(config) -> list[str]:
    """The command line that `from_flags` reads back as `config`."""
    words = []
    for f in dataclasses.fields(config):
        value, flag = getattr(config, f.name), _flag(f)
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif value != "":
            words += [*([] if f.metadata["positional"] else [flag]), *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def default_out(config, stage: str) -> Path:
    """--out, or the first free name of runs/STAGE-PRESET-SEED, runs/STAGE-PRESET-SEED-2 ..."""
    name = f"runs/{stage}-{config.preset}-{config.seed}"
    names = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
    return Path(config.out or next(n for n in names if not os.path.exists(n)))


def usable_cores() -> int:
    """Cores this process may run on, which on a shared machine can be fewer than it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _flag(f: dataclasses.Field) -> str:
    return f.name if f.metadata["positional"] else "--" + f.name.replace("_", "-")


def _help(f: dataclasses.Field) -> str:
    values = {"default": f.default, **f.metadata["presets"]}
    shown = "; ".join(f"{name}: {_show(value)}" for name, value in values.items())
    text = f.metadata["help"] + (f" ({shown})" if f.default not in ("", ()) else "")
    return text.replace("%", "%%")


def _show(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _range(rules) -> str:
    parts = [f"at least {rules['low']}" if rules["low"] is not None else None,
             f"above {rules['above']}" if rules["above"] is not None else None,
             f"at most {rules['high']}" if rules["high"] is not None else None]
    return ("0, or " if rules["or_zero"] else "") + " and ".join(p for p in parts if p)
