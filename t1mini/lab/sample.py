"""Read a model's thinking: type three numbers (or four) and a target, and watch it try, fail, check and try again.

    > 3 4 11 77
    3 + 11 = 14 * 4 = 56    low
    3 + 4 = 7 * 11 = 77     check 3 + 4 = 7 , 7 * 11 = 77 ok
    answer 3 + 4 * 11       right

Run it: python -m t1mini sample --init data/tiny-rl
"""

import re
from dataclasses import dataclass
from pathlib import Path

from t1mini.tasks import countdown
from t1mini.runs.checkpoint import load_policy
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.tasks.countdown import Problem
from t1mini.rollout import generate
from t1mini.runs.folder import Stopped
from t1mini.tasks import TASKS

_PIECES = re.compile(r"\d+ [-+*/] \d+ = \d+(?: [-+*/] \d+ = \d+)+|(?:stop )?answer .*")


@dataclass(frozen=True)
class SampleConfig(StageConfig):
    task: str = setting("countdown", "what the problems are", choices=tuple(TASKS), qwen="math")
    init: str = setting("data/tiny-rl", "checkpoint folder", qwen="")
    file: str = setting("", "read problems from this file, one '3 4 11 77' or one question a line, rather than from the keyboard")
    samples: int = setting(1, "responses to each problem", low=1, high=65536)
    temperature: float = setting(1.0, "sampling temperature; 0 is greedy", low=1e-3, high=100, or_zero=True)
    max_new_tokens: int = setting(192, "limit of a response's length", low=1, high=2**20, qwen=1024)


def run(config: SampleConfig) -> None:
    policy, tokenizer = load_policy(config.init, config.device)
    task = TASKS[config.task]
    task.require_tokenizer(tokenizer, config.init)
    parse_line = parse if config.task == "countdown" else lambda line: task.Problem(line, "")

    def think(problem, index: int) -> None:
        rollouts = generate(policy, [task.prompt_ids(problem, tokenizer)], config.samples, seed=config.seed,
                            prompt_indices=[index], max_new_tokens=config.max_new_tokens, temperature=config.temperature,
                            **tokenizer.limits)
        for row in range(config.samples):
            text, finished = tokenizer.decode(rollouts.ids(row)), bool(rollouts.finished[row])
            print((layout(problem, text, finished) if config.task == "countdown" else text) + "\n")

    if config.file:
        for i, problem in enumerate(read_file(config.file, parse_line)):
            print(f"> {task.prompt_text(problem)}")
            think(problem, i)
        return
    print(f"{'Three numbers and a target, such as 3 4 11 77' if config.task == 'countdown' else 'A question'}. An empty line ends.")
    for i, line in enumerate(iter(_ask, "")):
        try:
            think(parse_line(line), i)
        except ValueError as error:
            print(error)


def parse(line: str) -> Problem:
    """'3 4 11 77' as a problem. ValueError says what is wrong with it."""
    words = re.split(r"[\s,]+", line.strip())
    if not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words):
        raise ValueError(f"need three or four numbers and a target, such as 3 4 11 77; got {line.strip()[:60]!r}")
    *numbers, target = map(int, words)
    return countdown.make_problem(numbers, target)


def read_file(path: str, parse_line=parse) -> list:
    """UserError names the file and the line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path}: cannot be read: {error}") from None
    problems = []
    for i, line in enumerate(lines, 1):
        if line.strip():
            try:
                problems.append(parse_line(line))
            except ValueError as error:
                raise UserError(f"{path}, line {i}: {error}") from None
    if not problems:
        raise UserError(f"--file {path}: it holds no problem")
    return problems


def layout(problem: Problem, response: str, finished: bool) -> str:
    """A line an attempt with what is said of it, then the answer and whether it is right."""
    starts, width = [match.start() for match in _PIECES.finditer(response)], 14 * (len(problem.numbers) - 1)
    lines = [response[: starts[0]].strip()] if starts and starts[0] else []
    for start, end in zip(starts, [*starts[1:], len(response)]):
        attempt = _PIECES.match(response, start).group()
        lines.append(f"{attempt:<{width}}{response[start + len(attempt):end].strip()}")
    end = "no end within the limit" if not finished else "right" if countdown.is_correct(problem, response) else "wrong"
    return "\n".join([*lines[:-1], f"{(lines or [response])[-1].strip():<{width}}{end}"])


def _ask() -> str:
    try:
        return input("> ").strip()
    except (EOFError, Stopped, UnicodeDecodeError):
        return ""
