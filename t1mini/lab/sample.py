"""Read a model's thinking: type three numbers (or four) and a target, and watch it try, fail and try again.

    > 3 4 11 77
    3 + 11 = 14 * 4 = 56    low
    3 + 4 = 7 * 11 = 77     check 3 + 4 = 7 , 7 * 11 = 77 ok
    answer 3 + 4 * 11       right

Run it: python -m t1mini sample --init data/tiny-rl
"""

import contextlib
import re
from dataclasses import dataclass

from t1mini.evaluate import EvaluateConfig, respond
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.jsonl import read_bytes
from t1mini.runs.settings import UserError, setting
from t1mini.tasks import TASKS, countdown, maths

_PIECE = re.compile(r" ?(\d+ [-+*/] \d+ = \d+(?: [-+*/] \d+ = \d+)+|(?:stop )?answer .*) ?")


@dataclass(frozen=True)
class SampleConfig(EvaluateConfig):
    file: str = setting("", "read problems from this file, one '3 4 11 77' or one question a line, rather "
                        "than from the keyboard")
    samples: int = setting(1, "responses to each problem", "1 to 65_536")


def run(config):
    policy, tokenizer = load_policy(config.init, config.device)
    task = TASKS[config.task]
    task.require_tokenizer(tokenizer, config.init)
    for i, problem in enumerate(read(config.file, task) if config.file else typed(task)):
        if config.file:
            print(f"> {task.prompt_text(problem)}")
        _, [verdicts] = respond(policy, tokenizer, [problem], config, [i], progress="")
        for verdict in verdicts:
            print(layout(problem, verdict) if task is countdown else verdict.text, end="\n\n")


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
    """A line an attempt with what is said of it, then the answer and whether it is right."""
    width = 14 * (len(problem.numbers) - 1)
    text = _PIECE.sub(lambda piece: f"\n{piece[1]:<{width}}", verdict.text).removeprefix("\n")
    if verdict.overlong:
        return f"{text}\nno end within the limit"
    return text + ("right" if verdict.correct else "wrong")
