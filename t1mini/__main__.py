"""The command line: python -m t1mini STAGE [--flags]. Flags and their help come from each stage's settings.

    train       everything: data, SFT, RL, evaluation, budget curve, in one run folder
    data        write the Countdown problems, or divide others' files
    sft         fine-tune on trial-and-error chains of thought
    rl          reinforce with the T1 step
    collect     a real model's own attempts, as traces for sft and hard problems for rl
    evaluate    accuracy on problems never seen, with intervals
    scale       accuracy against the thinking budget
    study       the paper's findings: one mechanism switched at a time, over several seeds
    memory      what a run of rl or sft will take
    bench       what the fast paths buy
    sample      type a problem, read the model's thinking
    plot        figures of a run or a study
    view        one page that shows a run: curves, groups, thinking, budgets

A user's mistake is one line on stderr and exit code 2. A signal ends a stage with 128 and its number.
"""

import contextlib
import os
import pkgutil
import re
import signal
import sys

from safetensors import SafetensorError

from t1mini.lab.exercise import exercise, in_place
from t1mini.lab.study import variant
from t1mini.runs.folder import Stopped
from t1mini.runs.machine import prepare
from t1mini.runs.settings import Parser, StageConfig, UserError, add_flags, from_flags

STAGES = {  # where its settings are
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
    "view": "lab.view.ViewConfig",
}


def main(arguments=None):
    """Runs a stage. Returns the exit code."""
    signal.signal(signal.SIGTERM, stop)
    try:
        try:
            run(read(sys.argv[1:] if arguments is None else arguments))
        finally:  # --help leaves by SystemExit
            print(end="", flush=True)
    except (UserError, KeyboardInterrupt) as error:
        return complain(error)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, SafetensorError) as error:  # a full disk, a folder that may not be entered
        error.add_note("; is there room, and may this user write there?")
        return complain(error)
    except (MemoryError, RuntimeError) as error:
        if not re.search("MemoryError|can.t allocate memory", repr(error)):
            raise
        error.args = ("out of memory: lower --micro-batch-tokens, --max-batch-tokens or --max-new-tokens",)
        return complain(error)
    return 0


def stop(number, frame):
    """Where there is no step to finish, a signal ends the stage at once."""
    raise Stopped(number, "stopped")


def read(words: list):
    """The settings of the stage that `words` name. UserError where one of them is not understood."""
    parser = Parser("python -m t1mini", __doc__)
    parser.add_argument("stage", choices=STAGES, metavar="STAGE")
    stage = parser.parse_args(words[:1]).stage
    config_class = pkgutil.resolve_name("t1mini." + STAGES[stage])
    parser = Parser(f"python -m t1mini {stage}", sys.modules[config_class.__module__].__doc__)
    add_flags(parser, config_class)
    return from_flags(config_class, vars(parser.parse_args(words[1:])))


def run(config: StageConfig):
    """Runs the stage, with a study's --variant and a reader's own --exercise in the library's place."""
    begun, own = getattr(config, "resume", ""), getattr(config, "exercise", "")
    for last in ("final", "report.txt"):  # what sft and rl write last, and train
        if begun and os.path.exists(end := os.path.join(begun, last)):
            return print(f"{begun} is finished, nothing is left to do: see {end}")
    prepare(config)
    with in_place(variant(config)), exercise(own) if own else contextlib.nullcontext():
        sys.modules[type(config).__module__].run(config)


def complain(error):
    """One line on stderr: the error with its notes. Returns the exit code.

    Of a team, whose ranks find the same mistake, only the first speaks.
    """
    if os.environ.get("RANK", "0") == "0":
        text = "".join([f"{error}" or "stopped", *getattr(error, "__notes__", ())])
        shown = filter(str.isprintable, " ".join(text.split()))  # nothing that steers the terminal
        print("t1mini:", "".join(shown), file=sys.stderr)
    return getattr(error, "code", 130 if isinstance(error, KeyboardInterrupt) else 2)


if __name__ == "__main__":
    sys.exit(main())
