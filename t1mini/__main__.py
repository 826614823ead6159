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

A user's mistake is one line on stderr and exit code 2.
"""

import argparse
import importlib
import os
import sys

import torch
from safetensors import SafetensorError

from t1mini.runs.settings import UserError, add_flags, from_flags
from t1mini.runs.folder import Stopped, Stopping

STAGES = {  # name: (module, settings)
    "train": ("lab.train", "TrainConfig"),
    "data": ("lab.data", "DataConfig"),
    "sft": ("sft", "SFTConfig"),
    "rl": ("rl", "RLConfig"),
    "collect": ("collect", "CollectConfig"),
    "evaluate": ("evaluate", "EvaluateConfig"),
    "scale": ("inference_scaling", "ScaleConfig"),
    "study": ("lab.study", "StudyConfig"),
    "bench": ("lab.bench", "BenchConfig"),
    "memory": ("lab.memory", "MemoryConfig"),
    "sample": ("lab.sample", "SampleConfig"),
    "plot": ("lab.plot", "PlotConfig"),
}


class Parser(argparse.ArgumentParser):
    """Errors are one line, without the list of flags."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    try:
        parsed, unknown = make_parser().parse_known_args(arguments)
        flags = vars(parsed)
        if unknown:
            raise UserError(f"unrecognized arguments: {' '.join(unknown)}; see python -m t1mini {parsed.stage} --help")
        module_name, config_name = STAGES[flags.pop("stage")]
        module = importlib.import_module(f"t1mini.{module_name}")
        config = from_flags(getattr(module, config_name), flags)
        importlib.import_module("t1mini.runs.machine").prepare(config)
        with Stopping(at_once=True):
            module.run(config)
    except Stopped as stopped:
        complain(str(stopped), stopped)
        return stopped.code
    except UserError as error:
        return complain(str(error), error)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, SafetensorError) as error:  # a full disk, a folder that may not be entered
        return complain(f"{error}; is there room, and may this user write there?", error)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return complain(f"{config.device} is out of memory: lower {' or '.join(memory_flags(config))}", error, every_rank=True)
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        return complain(f"this machine is out of memory: lower {' or '.join(memory_flags(config))}", error, every_rank=True)
    except KeyboardInterrupt:
        return 130
    return 0


def complain(message: str, error: Exception | None = None, every_rank: bool = False) -> int:
    """One line on stderr, with the notes that `error` carries. Of a team, whose ranks find the same mistake, only the first speaks."""
    if every_rank or os.environ.get("RANK", "0") == "0" or "WORLD_SIZE" not in os.environ:
        words = " ".join((message + "".join(getattr(error, "__notes__", ()))).split())
        print("t1mini:", "".join(c if c.isprintable() else "?" for c in words), file=sys.stderr)  # no file may steer the terminal
    return 2


def memory_flags(config) -> list[str]:
    """The settings that decide how much a stage takes."""
    return ["--" + name.replace("_", "-") for name in ("micro_batch_tokens", "max_batch_tokens") if hasattr(config, name)] or ["--max-new-tokens"]


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m t1mini", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE", parser_class=Parser)
    for name, (module_name, config_name) in STAGES.items():
        module = importlib.import_module(f"t1mini.{module_name}")
        stage = stages.add_parser(name, description=module.__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        add_flags(stage, getattr(module, config_name))
    return parser


if __name__ == "__main__":
    sys.exit(main())
