"""The command line: python -m t1mini STAGE [--flags]. Flags and their help come from each stage's settings.

    train       everything: data, SFT, RL, evaluation, budget curve, in one run folder
    data        write the Countdown problems
    sft         fine-tune on trial-and-error chains of thought
    rl          reinforce with the T1 step
    collect     a real model's own attempts, as traces for sft and hard problems for rl
    evaluate    accuracy on problems never seen, with intervals
    scale       accuracy against the thinking budget
    study       the paper's findings: one mechanism switched at a time, over several seeds
    memory      what an RL run will take on a GPU
    bench       what the fast paths buy
    sample      type a problem, read the model's thinking
    plot        figures of a run or a study

A user's mistake is one line on stderr and exit code 2. A signal ends a stage with 128 and its number.
"""

import argparse
import contextlib
import importlib
import os
import sys
from typing import Iterator

import torch
from safetensors import SafetensorError

from t1mini.lab.exercise import exercise, in_place
from t1mini.lab.study import variant
from t1mini.runs.machine import prepare
from t1mini.runs.settings import Parser, StageConfig, UserError, from_flags, parse

STAGES = {  # where its settings are; no other stage's module is imported
    "train": "lab.train.TrainConfig",
    "data": "lab.data.DataConfig",
    "sft": "sft.SFTConfig",
    "rl": "rl.RLConfig",
    "collect": "collect.CollectConfig",
    "evaluate": "evaluate.EvaluateConfig",
    "scale": "inference_scaling.ScaleConfig",
    "study": "lab.study.StudyConfig",
    "bench": "lab.bench.BenchConfig",
    "memory": "lab.memory.MemoryConfig",
    "sample": "lab.sample.SampleConfig",
    "plot": "lab.plot.PlotConfig",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a stage. Returns the exit code."""
    try:
        module, config_class, flags = read(sys.argv[1:] if arguments is None else arguments)
        run(module, from_flags(config_class, flags))
    except (UserError, MemoryError, KeyboardInterrupt) as error:
        return complain(error)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, SafetensorError) as error:  # a full disk, a folder that may not be entered
        error.add_note("; is there room, and may this user write there?")
        return complain(error)
    return 0


def read(words: list[str]) -> tuple:
    """The stage's module, its settings' class and the flags given. UserError names a word that is none."""
    texts = {"formatter_class": argparse.RawDescriptionHelpFormatter, "prog": "python -m t1mini"}
    parser = Parser(description=__doc__, **texts)
    parser.add_argument("stage", choices=STAGES, metavar="STAGE")
    stage = parser.parse_args(words[:1]).stage
    module_name, _, config_name = STAGES[stage].rpartition(".")
    module = importlib.import_module("t1mini." + module_name)
    config_class = getattr(module, config_name)
    texts |= {"prog": f"python -m t1mini {stage}", "description": module.__doc__}
    return module, config_class, parse(config_class, words[1:], **texts)


def run(module, config: StageConfig):
    """Runs the stage. MemoryError says which settings decide how much it takes."""
    prepare(config)
    try:
        with replaced(config):
            module.run(config)
        sys.stdout.flush()
    except (MemoryError, RuntimeError) as error:
        on_cpu = "can't allocate memory" in str(error)
        where = "this machine" if on_cpu else config.device
        if not on_cpu and not isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise
        names = ("micro_batch_tokens", "max_batch_tokens", "max_new_tokens")
        flags = " or ".join("--" + name.replace("_", "-") for name in names if hasattr(config, name))
        told = MemoryError(f"{where} is out of memory: lower {flags}")
        told.__notes__ = getattr(error, "__notes__", [])
        raise told from error


@contextlib.contextmanager
def replaced(config: StageConfig):
    """Puts a study's --variant and a reader's own --exercise in the library's place while the block runs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(in_place(variant(config)))
        if getattr(config, "exercise", ""):
            stack.enter_context(exercise(config.exercise))
        yield


def complain(error: Exception) -> int:
    """One line on stderr: the error with its notes. Returns the exit code.

    Of a team, whose ranks find the same mistake, only the first speaks; but memory can end on one alone.
    """
    if os.environ.get("RANK", "0") == "0" or isinstance(error, MemoryError):
        text = "".join([str(error) or "stopped", *getattr(error, "__notes__", ())])
        plain = "".join(c if c.isprintable() else " " for c in text)  # no file may steer the terminal
        print("t1mini:", *plain.split(), file=sys.stderr)
    return getattr(error, "code", 130 if isinstance(error, KeyboardInterrupt) else 2)


if __name__ == "__main__":
    sys.exit(main())
