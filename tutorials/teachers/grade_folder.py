"""Grades a class offline: a folder with a folder a student, to a CSV with a row a student and a column a
function.

    python tutorials/teachers/grade_folder.py SUBMISSIONS/ grades.csv [06 07 ...]

Each student's folder is graded in a process of its own. Whatever happens there costs that student's checks,
and the row says why there is a zero: no file, not written, a crash, too slow, or wrong. What the student is
to read stands in grades-feedback/STUDENT.txt beside grades.csv. Rows are written as they come; run again,
the command goes on where it stopped.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]
LONGEST = 15 * 60  # seconds a student


def main(arguments: list[str]) -> int:
    from checking.report import NUMBERS, empty_results

    numbers = arguments[2:] or list(NUMBERS)
    if len(arguments) < 2 or not set(numbers) <= set(NUMBERS) or not Path(arguments[0]).is_dir():
        print("grade_folder.py: want a folder of submissions, a CSV file, and perhaps exercises out of "
              f"{', '.join(NUMBERS)}",
              file=sys.stderr)
        return 2
    submissions = sorted(path for path in Path(arguments[0]).iterdir() if path.is_dir())
    target = Path(arguments[1])
    names = [test["name"] for test in empty_results(numbers, "")["tests"]]
    columns = ["student", "score", "of", *names, "note"]
    done = read_done(target, columns)
    with target.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if not done:
            writer.writeheader()
        for i, folder in enumerate(submissions, 1):
            student = folder.name.encode(errors="backslashreplace").decode()  # a name may be no text
            if student in done:
                continue
            results, note = grade(folder, numbers)
            note = note or zeros(results)
            scores = {test["name"]: f"{test['score']:g}" for test in results["tests"]}
            writer.writerow({"student": student, "score": f"{results['score']:g}", "of": len(names),
                             **scores, "note": note})
            file.flush()
            feedback = target.with_name(f"{target.stem}-feedback") / f"{student}.txt"
            feedback.parent.mkdir(exist_ok=True)
            feedback.write_text(told(results), encoding="utf-8", errors="backslashreplace")
            print(f"{i} of {len(submissions)}: {student} {results['score']:g} of {len(names)} {note}",
                  flush=True)
    return 0


def read_done(target: Path, columns: list[str]) -> set[str]:
    """The students that the CSV file has. Exits with 2 where it is of other exercises."""
    if not target.exists() or not target.stat().st_size:
        return set()
    with target.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != columns:
            print(f"grade_folder.py: {target} has other columns; name another file", file=sys.stderr)
            sys.exit(2)
        return {row["student"] for row in reader}


KINDS = {"no file": "there is no file", "not written": "written yet", "too slow": "no answer within",
         "crashed": "the process ended", "not checked": "did not end"}


def zeros(results: dict) -> str:
    """Why there are zeros: functions by kind. What is merely wrong has its reason in the feedback."""
    kinds = {}
    for test in results["tests"]:
        if test["score"] == 0:
            kind = next((kind for kind, words in KINDS.items() if words in test["output"]), "wrong")
            kinds.setdefault(kind, []).append(test["name"])
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())


def told(results: dict) -> str:
    """What a student reads: each function, and what is wrong with it."""
    return "\n\n".join(f"{test['name']}: {test['output']}" for test in results["tests"]) + "\n"


def grade(folder: Path, numbers: list[str]) -> tuple[dict, str]:
    """(results, a note where the grading did not end)."""
    from checking.report import empty_results

    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / "results.json"
        try:
            ended = subprocess.run([sys.executable, str(HERE / "grade_one.py"), str(folder), str(target),
                                    *numbers],
                                   capture_output=True, timeout=LONGEST)
            note = "" if ended.returncode == 0 else f"grading ended with code {ended.returncode}"
        except subprocess.TimeoutExpired:
            note = f"grading took over {LONGEST // 60} minutes"
        try:
            return json.loads(target.read_text(encoding="utf-8")), note
        except (OSError, ValueError):
            return empty_results(numbers, ""), note or "no results"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
