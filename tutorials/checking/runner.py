"""A student's process: one function of a submission, called on one case after the other.

It knows the inputs and nothing of what is expected; whoever started it compares. Each case's outcome is a
file of its own, so that a function that hangs at the third case has answered two. While it runs, the
library's own functions of that name raise, output goes to a file of limited size, memory and time are
limited, and the process has a group of its own, to be stopped as one.
"""

import importlib
import importlib.util
import os
import sys
import threading
import traceback
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import t1mini.rl  # noqa: F401  everything a submission may want to import is there once the process forks
from checking.values import Once, pack, unpack

MARK = "T1MINI_CHECK"
NOTHING = {"args": (), "grads": None}  # of an outcome without a call
MORE_MEMORY, LARGEST_FILE = 700 * 2**20, 16 * 2**20  # bytes: beyond what torch takes; of all that is printed


class LibraryAnswer(RuntimeError):
    """The library's own function was called in place of the student's."""


def run(job: str) -> None:
    """Calls what job/job.npz asks for; outcomes go to job/0.npz, job/1.npz, ..."""
    folder = Path(job)
    limit_resources(folder / "printed.txt")
    with np.load(folder / "job.npz", allow_pickle=False) as arrays:
        path, name, answers, cases = unpack(arrays)
    torch.set_num_threads(1)
    os.chdir(folder)
    process = os.getpid()
    os.environ[MARK] = job  # whatever it starts can be found by this
    block(answers)
    for i, case in enumerate(cases):
        outcome = attempt(lambda: load(path, name), path) | NOTHING
        if not outcome["error"]:
            outcome = call(outcome["value"], *case, path=path)
        if os.getpid() != process:  # the submission has forked
            os._exit(0)
        packed = attempt(lambda: pack(outcome), path)
        write(folder / f"{i}.npz",
              packed["value"]
              or pack({"value": None, "error": ("Unreadable", packed["error"][1], 0, "")} | NOTHING))
    os._exit(0)  # whatever a submission has arranged to happen at the end does not


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Under its name once all of it is there."""
    np.savez(path.with_suffix(".part.npz"), **arrays)
    os.replace(path.with_suffix(".part.npz"), path)


_loaded: dict[str, object] = {}


def load(path: str, name: str):
    """The function `name` of the file at `path`, which is run once."""
    if path not in _loaded:
        spec = importlib.util.spec_from_file_location("submission", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        _loaded[path] = module
    if not callable(getattr(_loaded[path], name, None)):
        raise NotImplementedError(f"there is no function {name}")
    return getattr(_loaded[path], name)


def call(function, args: tuple, kwargs: dict, grad: tuple[int | str, ...], path: str = "") -> dict:
    """What `function` returns, its arguments afterwards, and d(value . weights)/d(argument) of the arguments
    numbered or named in `grad`."""
    args, kwargs = list(args), dict(kwargs)
    for i in grad:
        holder = kwargs if isinstance(i, str) else args
        holder[i] = holder[i].clone().requires_grad_()
    outcome = attempt(lambda: function(*args, **kwargs), path)
    grads = None
    if grad and isinstance(outcome["value"], torch.Tensor):
        value, leaves = outcome["value"], [(kwargs if isinstance(i, str) else args)[i] for i in grad]
        if value.requires_grad:
            weights = torch.linspace(0.5, 1.5, max(1, value.numel()), dtype=value.dtype).view_as(value)
            again = attempt(lambda: torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True),
                            path)
            outcome["error"], grads = again["error"], again["value"]
        else:
            grads = tuple(None for _ in leaves)
    after = tuple(arg.items if isinstance(arg, Once) else arg for arg in args)
    return outcome | {"args": after, "grads": grads}


def attempt(work, path: str) -> dict:
    """{"value": what work() returns, "error": None or (type, message, line number, line)}.

    Whatever it raises stays here.
    """
    try:
        return {"value": work(), "error": None}
    except BaseException as error:  # sys.exit and its like are no reason to end
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        line, text = (frames[-1].lineno, frames[-1].line) if frames else (0, "")
        if isinstance(error, SyntaxError) and error.filename == path:
            line, text = error.lineno or 0, (error.text or "").strip()
        return {"value": None, "error": (type(error).__name__, words_of(error), line, text[:100])}


def words_of(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except BaseException:  # an exception of the submission's own making
        return ""


def block(answers: list[str]) -> None:
    """Makes the library's functions `answers`, such as "t1mini.loss.rloo_advantages", raise wherever they are
    known by now."""
    for answer in answers:
        module, _, name = answer.rpartition(".")
        original = getattr(importlib.import_module(module), name)

        def raises(*args, answer=answer, **kwargs):
            raise LibraryAnswer(answer)

        for loaded in [m for key, m in sys.modules.items() if key.startswith("t1mini") and m is not None]:
            for key, value in list(vars(loaded).items()):
                if value is original:
                    setattr(loaded, key, raises)


def limit_resources(printed: Path) -> None:
    """A group and output of its own; memory and files limited where the system can."""
    out = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    tqdm.set_lock(threading.RLock())  # the one it makes otherwise would outlive this process
    if hasattr(os, "setsid") and os.getpid() != os.getsid(0):
        os.setsid()
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[5])  # data, as RLIMIT_DATA counts it
    except (ImportError, OSError):
        return
    most = pages * os.sysconf("SC_PAGE_SIZE") + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
