"""Writes autograder.zip for Gradescope (Programming Assignment, "Autograder: zip file").

    python tutorials/teachers/make_autograder.py                  all ten exercises
    python tutorials/teachers/make_autograder.py 06 07            these two
    python tutorials/teachers/make_autograder.py 06 --out hw3.zip

Students upload their exercise files by name, ex06_policy_gradient.py and so on. In the archive: setup.sh (the
CPU build of torch first), run_autograder, and the project. results.json is written with no points before
anything of the student's runs, and replaced at the end.
"""

import argparse
import stat
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

SETUP = """\
#!/usr/bin/env bash
# Run once by Gradescope when the image is made. Needs Python 3.11 or newer (Ubuntu 22.04: python3.11).
set -euo pipefail
BASE="${AUTOGRADER:-/autograder}"
fits() { "$1" -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null; }
find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        if fits "$python"; then echo "$python"; return; fi
    done
}
if [ -z "$(find_python)" ]; then
    apt-get update
    apt-get install -y python3.12 python3.12-venv || apt-get install -y python3.11 python3.11-venv
fi
"$(find_python)" -m venv "$BASE/venv"
cd "$BASE/source"
# the CPU build; where that fails, the default one
CPU=https://download.pytorch.org/whl/cpu
"$BASE/venv/bin/pip" install "$(grep '^torch' requirements.txt)" --index-url "$CPU" || true
"$BASE/venv/bin/pip" install -r requirements.txt
"""

RUN = """\
#!/usr/bin/env bash
# Run by Gradescope for every submission: from /autograder/submission to /autograder/results/results.json.
set -u
BASE="${AUTOGRADER:-/autograder}"
PYTHON="${PYTHON:-$BASE/venv/bin/python}"
RESULTS="$BASE/results/results.json"
cd "$BASE/source" && exec "$PYTHON" tutorials/teachers/grade_one.py "$BASE/submission" "$RESULTS" @EXERCISES@
"""

CONTENT = ("t1mini/**/*.py", "tutorials/teachers/grade_one.py", "tutorials/checking/*.py",
           "tutorials/exercises/*.py", "data/tiny-sft/*", "data/*.jsonl", "requirements.txt")


def main(arguments: list[str]) -> int:
    from checking.report import NUMBERS

    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exercises", nargs="*", metavar="NN",
                        help="which exercises, 01 to 10; all of them by default")
    parser.add_argument("--out", type=Path, default=Path("autograder.zip"))
    flags = parser.parse_args(arguments)
    if not set(flags.exercises) <= set(NUMBERS):
        parser.error(f"exercises are {', '.join(NUMBERS)}")
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(flags.out, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "setup.sh", SETUP, executable=True)
        add(archive, "run_autograder", RUN.replace("@EXERCISES@", " ".join(flags.exercises or NUMBERS)),
            executable=True)
        for pattern in CONTENT:
            for path in sorted(ROOT.glob(pattern)):
                archive.write(path, path.relative_to(ROOT))
    print(f"wrote {flags.out}: {' '.join(flags.exercises or NUMBERS)}")
    return 0


def add(archive: zipfile.ZipFile, name: str, text: str, executable: bool) -> None:
    """A text file with its permissions, which Gradescope wants on run_autograder."""
    info = zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0))
    info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
