"""Read a model's thinking: type three numbers (or four) and a target, and watch it try, fail and try again.

    > 3 4 11 77
    3 + 11 = 14 * 4 = 56        low
    3 + 4 = 7 * 11 = 77         check 3 + 4 = 7 , 7 * 11 = 77 ok
    answer 3 + 4 * 11           right

Several models, --init A B, think about the same problem side by side.

Run it: python -m t1mini sample --init data/tiny-rl
"""

import contextlib
import re
import shutil
import textwrap
from dataclasses import dataclass
from itertools import zip_longest

from t1mini.evaluate import EvaluateConfig, respond
from t1mini.runs.jsonl import read_bytes
from t1mini.runs.settings import UserError, setting
from t1mini.tasks import TASKS, chains, countdown, maths, policy_for


@dataclass(frozen=True)
class SampleConfig(EvaluateConfig):
    init: tuple = setting(("data/tiny-rl",), "checkpoint folders, to think side by side", qwen=("",))
    file: str = setting("", "read problems from this file, one '3 4 11 77' or one question a line, rather "
                        "than from the keyboard")
    samples: int = setting(1, "responses to each problem", "1 to 65_536")


def run(config):
    policies, task = [policy_for(config, folder) for folder in config.init], TASKS[config.task]
    for i, problem in enumerate(read(config.file, task) if config.file else typed(task)):
        if config.file:
            print(f"> {task.prompt_text(problem)}")
        if task is countdown:
            remark(problem)
        groups = [respond(*policy, [problem], config, [i], progress="")[1][0] for policy in policies]
        for verdicts in zip(*groups):
            print(side_by_side(config.init, [layout(problem, verdict) for verdict in verdicts]), end="\n\n")


def remark(problem):
    """Says what to know before blaming the model."""
    if not chains.solutions(problem):
        print("nothing solves it: no way to key in these numbers makes the target")
    if problem.numbers[3:] or problem.numbers[-1] > 15 or problem.target in problem.numbers:
        print("outside what the models of data/ know: three numbers from 1 to 15, a target that is not one")


def read(file, task):
    lines = read_bytes(file, 2**24).decode(errors="replace").splitlines()
    return [parse(task, line, f"{file}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def typed(task):
    """Problems from the keyboard, until a line is empty, input ends or Ctrl-C is pressed."""
    print("A problem, such as 3 4 11 77, or of --task math a question. An empty line ends.")
    with contextlib.suppress(EOFError, KeyboardInterrupt, UnicodeDecodeError):
        while line := input("> ").strip():
            try:
                yield parse(task, line, f"got {line[:60]!r}")
            except UserError as error:
                print(error)


def parse(task, line, place):
    """'3 4 11 77', or a question, as a problem. UserError, naming `place`, where it is none."""
    if task is maths:
        return maths.Problem(line, "")
    words = re.findall(r"[^\s,]+", line)
    *numbers, target = [int(word) if re.fullmatch("[0-9]{1,4}", word) else 0 for word in words] or [0]
    return countdown.make_problem(numbers, target, place)


def layout(problem, verdict):
    """Countdown: a line an attempt with what is said of it, then the answer, and whether it is right."""
    end = "\nno end within the limit" if verdict.overlong else " right" if verdict.correct else " wrong"
    if isinstance(problem, maths.Problem):  # typed without the answer
        return verdict.text + end * verdict.overlong
    width = 14 * len(problem.numbers) - 15
    text = re.sub(r"\b(low|high|ok) |(?<=\d) (?=\d)|(?<!stop) (?=stop|answer)", r"\1\n", verdict.text + end)
    return re.sub(r"(?m)^(.*?) (?=low|high|check|right|wrong)", lambda found: f"{found[1]:{width}} ", text)


def side_by_side(names, texts):
    """Texts in columns under their names, as wide as the terminal has room for; one text as it is."""
    width = max(30, shutil.get_terminal_size((160, 24)).columns // len(texts))
    columns = [[part for line in f"{name}\n{text}".split("\n")
                for part in textwrap.wrap(line, width - 2) or [""]] for name, text in zip(names, texts)]
    rows = ("".join(f"{cell:{width}}" for cell in row) for row in zip_longest(*columns, fillvalue=""))
    return "\n".join(rows) if texts[1:] else texts[0]
