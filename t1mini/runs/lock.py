"""A lock on a folder: one run at a time writes there.

The operating system keeps the lock for the process and drops it when the process ends, however it ends: a crash never leaves a
folder that nobody may use. The file itself stays and says who had it last. (Linux and macOS: flock; Windows: msvcrt.)

See a second run refused: python -m pytest tests/test_lock.py
"""

import os
import socket
import sys
from pathlib import Path

from t1mini.runs.settings import UserError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

NAME = "lock"
FAR = 2**20  # Windows locks bytes, so one that is not read


class FolderLock:
    """Holds `folder` until `release`. UserError where another process holds it."""

    def __init__(self, folder: Path):
        self.file = open(folder / NAME, "a+", encoding="utf-8")
        try:
            self.acquire()
        except (BlockingIOError, PermissionError):
            self.file.seek(0)
            holder = " ".join(self.file.read(200).split()) or "another process"
            self.file.close()
            raise UserError(f"{folder} is in use by {holder}; wait for it to end, or stop it") from None
        except OSError as error:  # some network file systems have no locks
            print(f"t1mini: {folder} cannot be locked ({error.strerror}); see that no second run writes there", file=sys.stderr)
        self.file.seek(0)
        self.file.truncate()
        self.file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self.file.flush()

    def acquire(self) -> None:
        if sys.platform == "win32":
            self.file.seek(FAR)
            msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        self.file.close()
