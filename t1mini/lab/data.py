"""The data stage: every Countdown problem, split by its numbers and written to disk.

    train.jsonl, validation.jsonl, test.jsonl       {"numbers": [3, 4, 11], "target": 77}, a line a problem

Nothing in the files is random but the division of the sets of numbers, and that has a fixed seed: they are
the same on every machine. Settings are chosen on validation; test is for the final figures. --numbers 4 makes
a harder task.

Problems in words come from others. --files looks into such files; with --out it makes one training set of
them: each question once, without those of the files --without, which are to test on.

Run it: python -m t1mini data --show 5
"""

import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from statistics import fmean

from t1mini.runs.folder import json_lines, write_text
from t1mini.runs.jsonl import excerpt, read_rows
from t1mini.runs.settings import StageConfig, UserError, flag, setting
from t1mini.tasks import chains, countdown, maths
from t1mini.tasks.teacher import Teacher, teach
from t1mini.verifier import answers_equal, is_plain


@dataclass(frozen=True)
class DataConfig(StageConfig):
    out: str = setting("", "folder to write to (default: data; of four numbers: data-4)")
    numbers: int = setting(3, "numbers that a problem gives", "3 to 4")
    show: int = setting(0, "also print this many of the teacher's traces", "0 to 1_000_000")
    files: tuple = setting((), "look at these files of problems in words instead, and at what they share; "
                           "with --out, divide them into train.jsonl and validation.jsonl there")
    without: tuple = setting((), "files to test on: their questions are left out")
    most_steps: int = setting(0, "most <<calculations>> in a solution; 0: any number", "0 or more")
    equations: bool = setting(False, "solutions of equations alone, a line each: the <<calculations>> of "
                             "a file that shows them, else one that is found in the question's numbers")
    validation: int = setting(200, "problems for validation, drawn at random", "1 or more")


def run(config):
    if config.files and config.out:
        return divide(config)
    for name in ("without", "most_steps", "equations"):
        if getattr(config, name):
            raise UserError(f"{flag(name)} is for --files with --out, a folder to write to")
    if config.files:
        return inspect(config.files)
    splits = write(Path(config.out or ("data" if config.numbers == 3 else "data-4")), config.numbers)
    print(f"{'split':12}{'problems':>10}{'chains':>10}{'solutions':>11}{'blind search in 10':>20}")
    for name, problems in splits.items():
        count, solutions, blind = map(fmean, zip(*(
            (len(chains.all_chains(problem.numbers)), len(chains.solutions(problem)),
             chains.blind_success(problem, 10)) for problem in problems)))
        print(f"{name:12}{len(problems):>10}{count:>10.1f}{solutions:>11.2f}{blind:>20.1%}")
    rng, problems = random.Random(config.seed), splits["test"] * 5
    traces = [teach(problem, Teacher(), rng) for problem in problems]
    right = fmean(map(countdown.is_correct, problems, traces))
    tried = list(map(countdown.attempts, traces))
    hits = sum(map(countdown.hits, problems, tried)) / sum(map(len, tried))
    print(f"\nthe teacher's traces, on the test problems: right {right:.1%}, hits an attempt {hits:.1%}")
    for problem in rng.choices(splits["train"], k=config.show):
        print(f"\n{countdown.prompt_text(problem)}\n  {teach(problem, Teacher(), rng)}")


def inspect(paths):
    """Prints of each file its problems, what may be wrong with them, and how many others share."""
    files = {path: maths.load_problems(path) for path in paths}
    for path, problems in files.items():
        plain = sum(is_plain(problem.answer) for problem in problems)
        print(f"{path}: {len(problems)} problems, {plain} with a plain number as answer")
        first, notes = {}, defaultdict(list)
        for problem in problems:
            other = first.setdefault(maths.key(problem), problem)
            if other is not problem:
                same = answers_equal(problem.answer, other.answer)
                notes["repeat a question" + " with a different answer" * (not same)].append(problem)
            if maths.is_sentence(problem.answer):
                notes["have a sentence as answer, without a box"].append(problem)
        for what, found in notes.items():
            print(f"    {len(found)} {what}, such as {excerpt(' -> '.join(found[0]))}")
        for other, theirs in files.items():
            if other != path:
                print(f"    {maths.shared(problems, theirs)} also in {other}")


def divide(config):
    """Writes the rows of --files, as they are, to train.jsonl and validation.jsonl. Prints what it drops."""
    tests = [problem for path in config.without for problem in maths.load_problems(path)]
    known, alike = ({key(problem) for problem in tests} for key in (maths.key, without_numbers))
    counts, kept = Counter(), {}
    both = lambda row, place: (maths.parse_row(row, place), row)
    for problem, row in [pair for path in config.files for pair in read_rows(path, parse=both)]:
        key, steps = maths.key(problem), f"{row}".count("<<")
        reasons = {"asked in --without as well": key in known, "asked before": key in kept,
                   f"of more than {config.most_steps} steps": 0 < config.most_steps < steps,
                   "without an equation": config.equations and not (row := equations_only(row, problem))}
        if reason := next((reason for reason, holds in reasons.items() if holds), ""):
            counts[f"left out: {reason}"] += 1
        else:
            kept[key] = row
            counts["kept, though asked in --without with other numbers"] += without_numbers(problem) in alike
    rows, n = list(kept.values()), config.validation
    if len(rows) <= n:
        raise UserError(f"--validation {n}: of --files there are only {len(rows)} questions left; lower it")
    random.Random(config.seed).shuffle(rows)
    folder, parts = Path(config.out), {"train.jsonl": rows[n:], "validation.jsonl": rows[:n]}
    for name in parts:
        if (folder / name).exists():
            raise UserError(f"--out {folder}: it has a {name}, which stays; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_text(folder / name, json_lines(part))
        counts[f"{folder / name}"] = len(part)
    print("\n".join(f"{count:>8}  {what}" for what, count in counts.items()))


def equations_only(row, problem):
    """The problem with a line an equation as its solution; None where there are none to be had.

    Where the file shows no calculations, it is one of two numbers of the question, if only one fits.

    >>> equations_only({"answer": "So 2+1=<<2+1=3>>3, 3*3=<<3*3=9>>9.\\n#### 9"}, maths.Problem("q", "9"))
    {'question': 'q', 'answer': '2+1 = 3\\n3*3 = 9\\n#### 9'}
    >>> equations_only({"answer": "41"}, maths.Problem("Of 50 in 2 bags 9 go. The rest?", "41"))
    {'question': 'Of 50 in 2 bags 9 go. The rest?', 'answer': '50-9 = 41\\n#### 41'}
    """
    equations = re.findall("<<(.*?)>>", f"{row.get('answer')}")
    if not equations:
        found = {*re.findall(r"\d+(?:\.\d+)?", problem.question)}
        sums = [f"{a}{op}{b}" for (a, b), op in product(permutations(found, 2), "+-*/")
                if a > b or op in "-/"]  # a sum or product in one order only
        equations = [f"{left}={problem.answer}" for left in sums if answers_equal(left, problem.answer)]
        if len(equations) != 1:
            return None
    lines = [equation.replace("=", " = ") for equation in equations]
    return {"question": problem.question, "answer": "\n".join([*lines, f"#### {problem.answer}"])}


def without_numbers(problem):
    """
    >>> without_numbers(maths.Problem("Tom has 3 apples, and buys 1,200.", ""))
    'tomhas#applesandbuys#'
    """
    return re.sub(r"\d+", "#", maths.key(problem))


def write(folder: Path, numbers=3):
    """Writes the three files to `folder` and returns their problems."""
    splits = countdown.make_splits(numbers)
    folder.mkdir(parents=True, exist_ok=True)
    for name, problems in splits.items():
        countdown.save_problems(folder / f"{name}.jsonl", problems)
    return splits
