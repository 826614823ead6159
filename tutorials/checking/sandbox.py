"""Starts a student's process, stops it after the time limit, and reads what it noted.

All processes fork from one that has imported torch already, so each costs milliseconds; where the system
cannot fork (Windows) each imports it anew. What comes back is compared here: the process never sees what is
expected.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Callable, Sequence

import numpy as np

from checking import runner
from checking.values import PARSING, pack, unpack

IMPORTING = 20.0  # seconds that a process may take to import torch, where it has to
PRINTED = 400  # characters shown of what a submission prints


@lru_cache(maxsize=None)
def context():
    """Processes fork from a server that has imported what they run, or are started afresh."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    needed = [name for name in ("checking.runner", "checking.probe") if name in sys.modules]
    forking.set_forkserver_preload(needed)
    tutorials = Path(__file__).resolve().parent.parent
    places = [str(tutorials), str(tutorials.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)  # of the server
    first = forking.Process(target=int)  # once it has run, the server has imported what it has to
    first.start()
    first.join()
    return forking


def outcomes(submission: Path, name: str, answers: Sequence[str], cases: Sequence[tuple],
             seconds: float) -> tuple[list[dict], str, str]:
    """What function `name` of a file does in each of `cases`, (args, kwargs, grad), as `outcomes_of` returns
    it."""
    return outcomes_of(runner.run, (str(submission.resolve()), name, list(answers), list(cases)), len(cases),
                       seconds)


def outcomes_of(work: Callable[[str], None], job: tuple, count: int,
                seconds: float) -> tuple[list[dict], str, str]:
    """(outcomes as far as `work` came, why it ended before it had `count` or "", what it printed).

    `work` is given a folder that holds job.npz. An outcome is what `runner.call` notes: value, args, grads,
    error.
    """
    with tempfile.TemporaryDirectory(prefix="check-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        np.savez(folder / "job.npz", **pack(job))
        starts = context()
        process = starts.Process(target=work, args=(name,), daemon=True)
        process.start()
        process.join(seconds + (0 if starts.get_start_method() == "forkserver" else IMPORTING))
        late = process.is_alive()
        stop(process, name)
        found = [read(folder / f"{i}.npz") for i in range(count) if is_plain(folder / f"{i}.npz")]
        printed = read_text(folder / "printed.txt")
    if len(found) == count:
        return found, "", printed
    return found, f"no answer within {seconds:g} s" if late else why_it_ended(process.exitcode), printed


def stop(process, job: str) -> None:
    """Ends the process and whatever it has started: its group, and what carries its mark."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a group of its own, which may outlive it
    except (OSError, AttributeError):
        process.kill()
    process.join()
    mark = f"{runner.MARK}={job}".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
        except OSError:  # another user's, or gone
            pass


def why_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
        return f"the process crashed with {name}" + (": out of memory?" if name == "SIGKILL" else "")
    return f"the process ended by itself with code {code}: does it call os._exit?"


def is_plain(path: Path) -> bool:
    """A file, and not a pipe, a folder or a link that a submission has put there."""
    return path.is_file() and not path.is_symlink()


def read(path: Path) -> dict:
    try:
        with PARSING, np.load(path, allow_pickle=False) as arrays:
            outcome = unpack(arrays)
        if isinstance(outcome, dict) and {"value", "args", "grads", "error"} <= outcome.keys():
            return outcome
    except Exception as error:  # whatever a submission may have put there
        print(f"{path.name}: {error}", file=sys.stderr)
    return {"value": None, "args": (), "grads": None,
            "error": ("Unreadable", "does it write files of its own?", 0, "")}


def read_text(path: Path) -> str:
    if not is_plain(path):
        return ""
    with path.open("rb") as file:
        text = file.read(4 * PRINTED).decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable() or c in "\n\t")[:PRINTED]
