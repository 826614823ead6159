"""The bug hunt of lesson 10: eleven training steps, each broken in one place.

    python tutorials/checking/bug_hunt.py list       the causes to choose from, and where the metrics are
    python tutorials/checking/bug_hunt.py 3 FOLDER   a copy of the package with bug 3 in it
    python tutorials/checking/bug_hunt.py run 3      60 small updates with it, to broken_runs (0: sound)

Name the cause from the metrics first, beside those of the sound step, tutorials/checking/broken_runs/00.csv.
Then find the line, mend it, and put both into FOUND of tutorials/exercises/ex10_honest_numbers.py; python
tutorials/check.py 10 confirms.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(ROOT)]
METRICS = HERE / "broken_runs"
RUN = ("--init", str(ROOT / "data/tiny-sft"), "--data", str(ROOT / "data"), "--steps", "60", "--prompts",
       "16", "--k", "8", "--threads", "1")


def main(arguments: list[str]) -> int:
    from checking.bugs import BUGS, CAUSES, make_broken

    words = {"list": 1, "run": 2}.get(arguments[0] if arguments else "", 2)
    number = arguments[-1] if arguments[:1] == ["run"] else arguments[0] if arguments else ""
    if (len(arguments) != words or number != "list"
        and (not number.isdecimal() or int(number) not in (*BUGS, *([0] if arguments[0] == "run" else [])))):
        print("bug_hunt.py: want `list`, `NUMBER FOLDER` or `run NUMBER`, with a number from 1 to "
              f"{len(BUGS)}",
              file=sys.stderr)
        return 2
    if number == "list":
        print("\n".join(["causes:", *(f"  {name:12}{words}" for name, words in CAUSES.items()), "metrics:",
                         "  tutorials/checking/broken_runs/00.csv  the sound step"]))
        print("\n".join(f"  tutorials/checking/broken_runs/{bug:02d}.csv  bug {bug}" for bug in BUGS))
    elif arguments[0] == "run":
        train(int(number))
    elif (Path(arguments[1]) / "t1mini").exists():
        print(f"bug_hunt.py: {arguments[1]} has a t1mini already; choose another folder", file=sys.stderr)
        return 2
    else:
        print(f"wrote {make_broken(int(number), Path(arguments[1]))}; its metrics: "
              f"tutorials/checking/broken_runs/{int(number):02d}.csv")
    return 0


def train(number: int) -> None:
    """The metrics of a broken step, or with 0 of the sound one."""
    from checking.bugs import BUGS, make_broken

    flags = BUGS[number].flags if number else ()
    with tempfile.TemporaryDirectory() as work:
        folder = make_broken(number, Path(work)).parent if number else ROOT
        subprocess.run([sys.executable, "-m", "t1mini", "rl", *RUN, *flags, "--out", f"{work}/run"],
                       env=os.environ | {"PYTHONPATH": str(folder)}, cwd=work)
        METRICS.mkdir(exist_ok=True)
        shutil.copy(f"{work}/run/metrics.csv", METRICS / f"{number:02d}.csv")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
