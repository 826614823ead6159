"""The machine a stage runs on: threads, device, precision, repeatability, a clock, and two habits of the
allocator.

Deterministic algorithms are asked for, so that the same seed gives the same run, bit for bit, on a CPU with
the same number of threads and workers. glibc by default hands memory of large tensors back to the system
after every use and zeroes it again at the next; told not to, a training step here takes about a quarter less
time. What lies free between tensors in use then grows, in a large model's run to several times what is in
use, and goes back every GIVE_BACK_EVERY seconds. Other systems' allocators are left as they are.
"""

import contextlib
import ctypes
import os
import platform
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import torch

from t1mini import __version__
from t1mini.runs.settings import StageConfig, UserError, usable_cores

GIVE_BACK_EVERY = 30  # seconds: of a large model each update
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def prepare(config: StageConfig):
    """Applies --threads and --device. UserError if torch cannot use that device."""
    with contextlib.suppress(AttributeError, TypeError):  # other systems' C libraries
        for threshold in (-3, -1):  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in glibc's malloc.h
            ctypes.CDLL(None).mallopt(threshold, 2**30)  # bytes kept when freed, for the next tensor
    torch.set_num_threads(config.threads or usable_cores())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for repeatable matrix products on CUDA
    torch.use_deterministic_algorithms(True, warn_only=config.device.startswith("cuda"))
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing reads memory it has not written
    try:
        if config.device == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: a GPU for each rank
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if torch.empty(1, device=config.device).device.type not in ("cpu", "cuda"):
            raise RuntimeError
    except (RuntimeError, AssertionError, ImportError):
        raise UserError(f"--device {config.device}: torch cannot use it here; "
                        "t1mini runs on cpu and cuda") from None


def give_back():
    """Hands memory back to the system that is free in the midst of glibc's heap."""
    with contextlib.suppress(AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def autocast(precision: str, device: str):
    """bfloat16 matrix products over float32 weights where `precision` says so.

    A context of its own for every use: autocast keeps its bfloat16 copies of the weights until it is left,
    and copies made while sampling carry no gradient.
    """
    return torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bfloat16")


class Clock:
    """Adds up seconds by part. Given a CUDA device it waits for it: work there is only queued."""

    def __init__(self, device: str = "cpu"):
        self.seconds = defaultdict(float)
        self.device = device
        self.last = self.now()

    def now(self):
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    def lap(self, part):
        """`part` has taken the time since the clock was last looked at."""
        before, self.last = self.last, self.now()
        self.seconds[part] += self.last - before

    def take(self, *parts):
        """The seconds of these parts since they were last taken."""
        return {part: self.seconds.pop(part, 0.0) for part in parts}

    @contextlib.contextmanager
    def part(self, name):
        """The block is `name`, whatever laps are taken within it."""
        began = self.last = self.now()
        yield
        self.last = began
        self.lap(name)


def made_by(config: StageConfig):
    """What a result depends on besides its settings: versions, the commit if there is one, the device."""
    device = f"cpu ({platform.machine()})"
    if config.device.startswith("cuda"):
        device = torch.cuda.get_device_name(config.device)
    return {"t1mini": __version__, "commit": commit(), "python": platform.python_version(),
            "torch": torch.__version__, "device": device}


def commit():
    """The commit of the checkout that this package lies in, with "-dirty" where files differ from it."""
    command = "git describe --always --dirty --abbrev=40 --exclude=*".split()
    with contextlib.suppress(OSError):  # there may be no git
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
        return done.stdout.strip() or None
