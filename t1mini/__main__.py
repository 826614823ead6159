"""The command line: python -m t1mini STAGE [--flags]. Flags and their help come from each stage's settings.

    train       everything: data, SFT, RL, evaluation, budget curve, in one run folder
    data        write the Countdown problems
    sft         fine-tune on trial-and-error chains of thought
    rl          reinforce with the T1 step
    collect     a real model's own attempts, as traces for sft and hard problems for rl
    evaluate    accuracy on problems never seen, with intervals
    scale       accuracy against the thinking budget
    memory      what an RL run will take on a GPU
    bench       what the fast paths buy
    sample      type a problem, read the model's thinking
    plot        figures of a run

A user's mistake is one line on stderr and exit code 2.
"""

import argparse
import importlib
import os
import sys

import torch

from t1mini.config import UserError, add_flags, from_flags

STAGES = {  # name: (module, settings)
    "train": ("pipeline", "TrainConfig"),
    "data": ("data", "DataConfig"),
    "sft": ("sft", "SFTConfig"),
    "rl": ("rl", "RLConfig"),
    "collect": ("collect", "CollectConfig"),
    "evaluate": ("evaluate", "EvaluateConfig"),
    "scale": ("inference_scaling", "ScaleConfig"),
    "bench": ("bench", "BenchConfig"),
    "memory": ("memory", "MemoryConfig"),
    "sample": ("sample", "SampleConfig"),
    "plot": ("plots", "PlotConfig"),
}


class Parser(argparse.ArgumentParser):
    """Errors are one line, without the list of flags."""

    def error(self, message: str):
        raise UserError(f"{message}; see {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    try:
        flags = vars(make_parser().parse_args(arguments))
        module_name, config_name = STAGES[flags.pop("stage")]
        module = importlib.import_module(f"t1mini.{module_name}")
        config = from_flags(getattr(module, config_name), flags)
        importlib.import_module("t1mini.machine").prepare(config)
        module.run(config)
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # the ranks of t1mini.distributed all find the same mistake
            print(f"t1mini: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:
        print(f"t1mini: {config.device} is out of memory: lower {' or '.join(memory_flags(config))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def memory_flags(config) -> list[str]:
    """The settings that decide how much a stage takes."""
    return ["--" + name.replace("_", "-") for name in ("micro_batch_tokens", "batch_rows") if hasattr(config, name)] or ["--max-new-tokens"]


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
