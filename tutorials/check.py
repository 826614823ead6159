"""Checks an exercise and names the mistake.

    python tutorials/check.py 06                          tutorials/exercises/ex06_*.py; 6 and ex06 do, too
    python tutorials/check.py all                         all of them
    python tutorials/check.py 06 --submission mine.py     a file elsewhere
    python tutorials/check.py all --json results.json     also for Gradescope

A check first compares your function with an independent computation on inputs of all kinds; where they differ
it looks which known mistake gives your numbers. Your code runs in a process of its own, with 5 seconds a
function, and the library's own functions of that name raise. Exit code 0 if all pass, 1 if not, 2 if there is
nothing to check.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

if __name__ == "__main__":  # student's processes import this file and have no use for the rest
    try:
        from checking.report import main

        try:
            code = main(sys.argv[1:])
        finally:  # --help leaves by SystemExit
            print(end="", flush=True)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # a file that may not be read, results that cannot be written
        print(f"check.py: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("check.py: stopped", file=sys.stderr)
        code = 130
    sys.exit(code)
