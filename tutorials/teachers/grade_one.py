"""Grades one submission folder and writes Gradescope's results.json (see make_autograder.py).

python tutorials/teachers/grade_one.py SUBMISSION_FOLDER results.json 06 07
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]


def main(arguments: list[str]) -> int:
    from checking import report

    if len(arguments) < 3 or not set(arguments[2:]) <= set(report.NUMBERS):
        print("grade_one.py: want a folder, a file for the results, and exercises out of "
              f"{', '.join(report.NUMBERS)}",
              file=sys.stderr)
        return 2
    folder, target, numbers = Path(arguments[0]), Path(arguments[1]), arguments[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    report.write_json(target, report.empty_results(numbers, "the grading did not end"))
    report.write_json(target, report.gradescope(report.check_folder(folder, numbers, report.SECONDS)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
