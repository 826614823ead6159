"""A task of your own, whole: put four numbers in ascending order. Some ninety lines that train
(tutorials/your_own_task.md).

    order 9 2 5 7 :   ->   try 2 9 5 7 no try 2 5 7 9 yes answer 2 5 7 9

Run it: python tutorials/own_task.py [OUT]

It leaves what rl, evaluate and scale can go on with: --task tutorials/own_task.py --data runs/own-task.
"""

import random
import sys
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import torch  # noqa: E402

from t1mini import evaluate, rl, sft  # noqa: E402
from t1mini.model import Qwen, QwenConfig  # noqa: E402
from t1mini.runs.checkpoint import load_policy, save_policy  # noqa: E402
from t1mini.runs.jsonl import read_rows  # noqa: E402
from t1mini.runs.settings import UserError  # noqa: E402
from t1mini.runs.tokenizer import Tokenizer  # noqa: E402

FORCED_ANSWER, END_OF_THINKING = " answer ", " answer"


class Problem(NamedTuple):
    numbers: tuple[int, ...]


# --- what the stages ask of a task: see t1mini/tasks/__init__.py -------------------------------------------

load_problems = lambda path: read_rows(path, parse=parse)
prompt_text = lambda problem: f"order {' '.join(map(str, problem.numbers))} :"
prompt_ids = lambda problem, tokenizer: tokenizer.encode(prompt_text(problem))
in_order = lambda problem: " ".join(map(str, sorted(problem.numbers)))
final_answer = lambda response: f" {response}".rpartition(" answer ")[2].strip() if opened(response) else None
opened = lambda response: " answer " in f" {response}"
is_correct = lambda problem, response: final_answer(response) == in_order(problem)
attempts = lambda response: [piece.strip().removesuffix(" no").removesuffix(" yes")
                             for piece in response.partition("answer")[0].split("try ")[1:]]
hits = lambda problem, tried: sum(attempt.strip() == in_order(problem) for attempt in tried)
repetition = lambda response, ids: (attempts(response), 1)  # the same attempt, again and again
is_grammatical = lambda response: response.startswith("try ") and response.count("answer") == 1
require_tokenizer = lambda tokenizer, folder: None


def parse(row: dict, place: str) -> Problem:
    """A problem from a line of a file; of all lines that are none, `place` is told in one message."""
    numbers = row.get("numbers")
    if not isinstance(numbers, list) or not all(type(x) is int and 0 <= x < 20 for x in numbers):
        raise UserError(f'{place}: want {{"numbers": [9, 2, 5, 7]}}, each from 0 to 19')
    return Problem(tuple(numbers))


# --- what it learns from before it may explore ----------------------------------------------------


def trace(problem: Problem, rng: random.Random) -> str:
    """Random orders until one is right; after each miss it may give up, and answer with what it has."""
    words = []
    while True:
        guess = rng.sample(problem.numbers, len(problem.numbers))
        right, text = guess == sorted(guess), " ".join(map(str, guess))
        words.append(f"try {text} {'yes' if right else 'no'}")
        if right or rng.random() < 0.2:
            return " ".join([*words, "answer", text])


def main(out: str = "runs/own-task", traces: int = 30_000, steps: int = 60,
         problems: int = 100) -> list[float]:
    rng, folder = random.Random(0), Path(out)
    # no set of numbers is drawn twice: what is tested on is new, whatever its order
    drawn = rng.sample([*combinations(range(20), 4)], 2000 + problems)
    drawn = [Problem(tuple(rng.sample(numbers, 4))) for numbers in drawn]
    train, test = drawn[problems:], drawn[:problems]
    if folder.exists():
        sys.exit(f"own_task.py: {out} is there already; name another: python tutorials/own_task.py OUT")
    folder.mkdir(parents=True)
    for split, part in (("train", train), ("test", test)):
        lines = [f'{{"numbers": {list(p.numbers)}}}\n' for p in part]
        (folder / f"{split}.jsonl").write_text("".join(lines))
    tokenizer = Tokenizer.for_words([*map(str, range(20)), "order", ":", "try", "no", "yes", "answer"])
    policy = Qwen(QwenConfig(tokenizer.size, 48, 128, 2, 2, 1, 24, initializer_range=0.06)).initialise(0)
    examples = [sft.Example(prompt_ids(p, tokenizer), [*tokenizer.encode(trace(p, rng)), tokenizer.eos_id])
                for p in rng.choices(train, k=traces)]
    sft.train(policy, tokenizer, examples, rng, sft.SFTConfig(task=__file__, out=out, workers=1), None)
    save_policy(policy, tokenizer, folder / "sft")
    rl.run(rl.RLConfig(task=__file__, init=str(folder / "sft"), data=str(folder), out=str(folder / "rl"),
                       steps=steps, prompts=16, k=8, max_new_tokens=64, workers=1))
    accuracy = []
    for model in (folder / "sft", folder / "rl/final"):
        config = evaluate.EvaluateConfig(task=__file__, max_new_tokens=64)
        _, verdicts = evaluate.respond(*load_policy(str(model), "cpu"), test, config)
        accuracy.append(sum(v.correct for group in verdicts for v in group) / sum(map(len, verdicts)))
        print(f"{model}: {accuracy[-1]:.1%} right")
    return accuracy


if __name__ == "__main__":
    torch.set_num_threads(1)  # so small a model gains nothing from more
    main(*sys.argv[1:2])
