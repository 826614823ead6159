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
from pathlib import Path
from typing import Iterator

from t1mini.fast import twins
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.sampler import Sampling
from t1mini.tasks import TASKS, countdown, maths

_PIECE = re.compile(r" ?(\d+ [-+*/] \d+ = \d+(?: [-+*/] \d+ = \d+)+|(?:stop )?answer .*) ?")


@dataclass(frozen=True)
class SampleConfig(StageConfig):
    task: str = setting("countdown", "what the problems are", choices=tuple(TASKS), qwen="math")
    init: str = setting("data/tiny-rl", "checkpoint folder", qwen="")
    file: str = setting("", "read problems from this file, one '3 4 11 77' or one question a line, rather "
                        "than from the keyboard")
    samples: int = setting(1, "responses to each problem", "1 to 65_536")
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", "0, or 0.001 to 100")
    top_k: int = setting(0, "sample from the k likeliest tokens only; 0 means all", "0 or more")
    top_p: float = setting(1.0, "sample from the likeliest tokens that hold this mass", "above 0, to 1")
    min_p: float = setting(0.0, "sample only tokens with p >= min_p * the largest p", "0 to 1")
    max_new_tokens: int = setting(192, "limit of a response's length", "1 to 1_048_576", qwen=1024)
    plain: bool = setting(False, "the plain twin of generate, for reading along")


def run(config: SampleConfig):
    policy, tokenizer = load_policy(config.init, config.device)
    task = TASKS[config.task]
    task.require_tokenizer(tokenizer, config.init)
    generate, _ = twins(config)
    sampling = Sampling(config.temperature, config.top_k, config.top_p, config.min_p, tokenizer.size)
    if task is countdown:
        asked, parse, show = "Three numbers and a target, such as 3 4 11 77", parse_numbers, layout
    else:
        asked, parse = "A question", lambda line, place: maths.Problem(line, "")
        show = lambda problem, text, finished: text
    generate, _ = twins(config)
    sampling = Sampling(config.temperature, config.top_k, config.top_p, config.min_p, tokenizer.size)
    if not config.file:
        print(f"{asked}. An empty line ends.")
    for i, problem in enumerate(from_file(config.file, parse) if config.file else from_keyboard(parse)):
        if config.file:
            print(f"> {task.prompt_text(problem)}")
        rollouts = generate(policy, [task.prompt_ids(problem, tokenizer)], config.samples, sampling,
                            max_new_tokens=config.max_new_tokens, eos_id=tokenizer.eos_id, seed=config.seed,
                            prompt_indices=[i])
        for row, finished in enumerate(rollouts.finished.tolist()):
            print(show(problem, tokenizer.decode(rollouts.ids(row)), finished) + "\n")


def parse_numbers(line: str, place: str) -> countdown.Problem:
    """'3 4 11 77' as a problem. UserError, naming `place`, where it is none."""
    words = line.replace(",", " ").split()
    *numbers, target = [int(word) if re.fullmatch("[0-9]{1,4}", word) else 0 for word in words] or [0]
    return countdown.make_problem(numbers, target, place)


def from_keyboard(parse) -> Iterator:
    """What is typed, until a line is empty, input ends or Ctrl-C is pressed."""
    with contextlib.suppress(EOFError, KeyboardInterrupt, UnicodeDecodeError):
        while line := input("> ").strip():
            try:
                problem = parse(line, f"got {line[:60]!r}")
            except UserError as error:
                print(error)
            else:
                yield problem


def from_file(path: str, parse) -> list:
    """A problem a line. UserError names the file, the line and what is wrong with it."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path}: cannot be read: {error}") from None
    problems = [parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not problems:
        raise UserError(f"--file {path}: it holds no problem")
    return problems


def layout(problem: countdown.Problem, response: str, finished: bool) -> str:
    """A line an attempt with what is said of it, then the answer and whether it is right."""
    width = 14 * (len(problem.numbers) - 1)
    text = _PIECE.sub(lambda piece: f"\n{piece[1]:<{width}}", response).removeprefix("\n")
    if not finished:
        return f"{text}\nno end within the limit"
    return text + ("right" if countdown.is_correct(problem, response) else "wrong")
