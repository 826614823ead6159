"""The command line of check.py: which files, their verdicts, and how they are told."""

import argparse
import importlib
import json
import os
import re
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Sequence

from checking import sandbox
from checking.diagnose import Finding, judge
from checking.source import evaluates, library_imports
from checking.tasks import Task, cases_of

EXERCISES = Path(__file__).resolve().parent.parent / "exercises"
NUMBERS = tuple(f"{i:02d}" for i in range(1, 11))
AT_ONCE = 2
SECONDS = 5.0  # a function may take
EVALUATES = "it evaluates what it reads: eval runs anything that stands there, however long that takes"


class Result(NamedTuple):
    exercise: str
    task: str
    finding: Finding
    printed: str
    seconds: float


def tasks_of(number: str) -> Sequence:
    return importlib.import_module(f"checking.ex{number}").TASKS


def exercise_file(number: str, folder: Path = EXERCISES) -> Path | None:
    """The exercise's file in a folder or a folder in it: exNN_*.py in any letter case, the least deep."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    name = re.compile(rf"ex_?{number}(?!\d).*\.py", re.IGNORECASE)
    of_number = [path for path in found if name.fullmatch(path.name)]
    return min(of_number, key=lambda path: (len(path.parts), str(path)), default=None)


def check_task(path: Path, task: Task, seconds: float) -> tuple[Finding, str]:
    """The verdict on one function of a file, and what the file printed."""
    named = library_imports(path, task.answers)
    if named:
        return Finding(False, f"it uses {named}, which is the answer: write the function yourself"), ""
    cases, _ = cases_of(task)
    found, ended, printed = sandbox.outcomes(path, task.name, task.answers, [case[1:4] for case in cases],
                                             seconds)
    try:
        finding = judge(task, found, ended)
        if finding.case and evaluates(path):
            finding = finding._replace(says=f"{finding.says} ({EVALUATES})")
        return finding, printed
    # a returned value of a kind that nobody has thought of costs this check and no other
    except Exception as error:
        return Finding(False,
                       f"what it returns cannot be compared ({type(error).__name__}: {error}); see the stub "
                       "for what is asked for"), printed


def check_files(files: dict[str, Path], seconds: float) -> list[Result]:
    """Verdicts on every function of the exercises {number: file}, two at a time."""

    def one(number: str, path: Path, task) -> Result:
        began = time.perf_counter()
        finding, printed = (task.check(path, seconds) if hasattr(task, "check")
                            else check_task(path, task, seconds))
        return Result(number, task.name, finding, printed, time.perf_counter() - began)

    asked = [(number, path, task) for number, path in files.items() for task in tasks_of(number)]
    sandbox.context()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(one, *each) for each in asked]
        return [future.result() for future in waiting]


def check_folder(folder: Path, numbers: Sequence[str], seconds: float) -> list[Result]:
    """Verdicts on the exercises of a folder; a file that is missing fails."""
    files = {number: exercise_file(number, folder) for number in numbers}
    results = check_files({number: path for number, path in files.items() if path}, seconds)
    return (results + [Result(number, task.name, Finding(False, f"there is no file ex{number}*.py"), "", 0.0)
                       for number, path in files.items() if path is None for task in tasks_of(number)])


def tell(results: Sequence[Result], files: dict[str, Path]) -> str:
    """The verdicts as text."""
    lines, width = [], max(len(r.task) for r in results) + 2
    for number, path in files.items():
        lines.append(path.name)
        for r in (r for r in results if r.exercise == number):
            lines.append(f"  {r.task:{width}}{'passed' if r.finding.passed else 'FAILED'}")
            if not r.finding.passed:
                lines += explain(r, " " * (width + 2))
    passed = sum(r.finding.passed for r in results)
    return "\n".join([*lines, f"{passed} of {len(results)} passed"])


def explain(result: Result, indent: str = "") -> list[str]:
    """A failed function: what is wrong, in which case, yours beside what is expected."""
    finding = result.finding
    lines = textwrap.wrap(finding.says, 110, initial_indent=indent, subsequent_indent=indent)
    for name, text in (("case", finding.case), ("yours", finding.yours), ("expected", finding.expected)):
        if text:
            lines.append(f"{indent}{name + ':':10}{text}")
    if result.printed.strip():
        lines.append(f"{indent}{'printed:':10}{' '.join(result.printed.split())[:200]}")
    return lines


def gradescope(results: Sequence[Result]) -> dict:
    """Gradescope's results.json: a point a function."""
    tests = [{"name": f"{r.exercise} {r.task}", "score": float(r.finding.passed), "max_score": 1.0,
              "status": "passed" if r.finding.passed else "failed",
              "output": "\n".join(explain(r)) or "passed", "visibility": "visible"} for r in results]
    return {"score": sum(test["score"] for test in tests), "stdout_visibility": "hidden", "tests": tests}


def write_json(path: Path, content: dict) -> None:
    """Written beside and renamed, so that a reader sees all of it or what was there before."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(part, path)


def empty_results(numbers: Sequence[str], why: str) -> dict:
    """What stands in results.json until the checks have ended: no point anywhere."""
    tests = [{"name": f"{number} {task.name}", "score": 0.0, "max_score": 1.0, "status": "failed",
              "output": why, "visibility": "visible"} for number in numbers for task in tasks_of(number)]
    return {"score": 0.0, "stdout_visibility": "hidden", "tests": tests}


class Parser(argparse.ArgumentParser):
    """Its errors are one line."""

    def error(self, message: str):
        self.exit(2, f"check.py: {message}; see python tutorials/check.py --help\n")


def number_of(text: str) -> str:
    """An exercise however it is named: 7, 07, ex07 or tutorials/exercises/ex07_entropy.py."""
    named = re.fullmatch(r"(?:.*\bex)?0*([0-9]+)(?:_\w*)?(?:\.py)?", text)
    return f"{named[1]:>02}" if named else text


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="python tutorials/check.py", description="Checks exercises and names the mistake.",
                    allow_abbrev=False)
    parser.add_argument("exercise", type=number_of, choices=[*NUMBERS, "all"], help="which one")
    parser.add_argument("--submission", type=Path,
                        help="a file to check in place of tutorials/exercises/exNN_*.py; with all, a folder")
    parser.add_argument("--json", type=Path, help="write Gradescope's results.json here")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time limit a function (default 5)")
    flags = parser.parse_args(arguments)
    if not 0 < flags.seconds <= 3600:
        parser.error(f"--seconds {flags.seconds}: want above 0, to 3600")
    numbers = NUMBERS if flags.exercise == "all" else (flags.exercise,)
    where = flags.submission
    if where and not where.exists():
        parser.error(f"--submission {where}: there is no such file")
    if where and flags.exercise == "all" and not where.is_dir():
        parser.error(f"--submission {where}: `all` takes a folder of ex01...py to ex10...py")
    files = {number: where if where and where.is_file() else exercise_file(number, where or EXERCISES)
             for number in numbers}
    missing = [number for number, path in files.items() if path is None]
    if missing and len(missing) == len(files):
        parser.error(f"there is no ex{missing[0]}*.py in {where or EXERCISES}")
    if flags.json:
        write_json(flags.json, empty_results(numbers, "the checks did not end"))
    one_file = where and where.is_file()
    results = (check_files(files, flags.seconds) if one_file
               else check_folder(where or EXERCISES, numbers, flags.seconds))
    if flags.json:
        write_json(flags.json, gradescope(results))
    # a submission may return what this terminal cannot show
    sys.stdout.reconfigure(errors="backslashreplace")
    print(tell(results, {number: path or Path(f"ex{number} (missing)") for number, path in files.items()}))
    return 0 if all(r.finding.passed for r in results) else 1
