"""The run folder: everything a run leaves behind, as plain files, each of them whole or not there.

    config.json     the settings in force, and what made the run: version, commit, torch, device
    metrics.csv     a row an update: what was learned (the same again for the same seed)
    timing.csv      a row an update: seconds of its parts (never the same again)
    events.csv      updates that were refused, and signs of ill health
    samples.txt     responses as text
    step-NNNN/, final/      checkpoints
    state/          what --resume needs (t1mini.runs.state)
    lock            held while a run writes here

A file or folder is written as NAME.part and takes its name in one step, when the disk has all of it: a killed
process or a full disk leaves what was there before. A folder's manifest.json, its files' sizes and SHA-256,
shows damage. A run that goes on from update N drops what its logs have after N.

See disks that fill up: python -m pytest tests/runs/test_folder.py
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Iterator, TextIO

import torch

from t1mini.runs.jsonl import excerpt, read_object
from t1mini.runs.machine import made_by
from t1mini.runs.settings import StageConfig, UserError, default_out
from t1mini.runs.team import Team

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None

MANIFEST = "manifest.json"
ROW = rb"^(\d+),"  # how an update's part of a log begins
LOGS = {"metrics.csv": ROW, "timing.csv": ROW, "events.csv": ROW, "samples.txt": rb"^--- step (\d+)"}


class RunFolder(contextlib.AbstractContextManager):
    """A folder, new or to go on in by the command `resume`, held against other runs. UserError if taken."""

    def __init__(self, path: str | Path, config: StageConfig, resume: str = ""):
        self.path, self.resume, self.made_by = Path(path), resume, made_by(config)
        try:
            if not getattr(config, "resume", ""):
                self.path.mkdir(parents=True, exist_ok=True)
                if files := [f.name for f in self.path.iterdir() if f.name != "lock" and f.suffix != ".part"]:
                    what = "a run; go on with it by --resume," if "config.json" in files else "files;"
                    raise UserError(f"{self.path} already holds {what} choose another --out, or remove it")
            self.lock = locked(self.path)
            self.write_results("config.json", config.to_dict())
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None

    @classmethod
    def open(cls, config, stage: str, leads: bool = True):
        """The folder of --resume, or a new one; None for a rank that does not lead."""
        if not leads:
            return contextlib.nullcontext()
        path = Path(config.resume or default_out(config, stage))
        return cls(path, config, resume=f"python -m t1mini {stage} --resume {shlex.quote(str(path))}")

    def __exit__(self, kind, error, trace):
        self.lock.close()
        if isinstance(error, Stopped) and self.resume and not hasattr(error, "__notes__"):
            error.add_note(f"; go on with {self.resume}")

    def write_text(self, name: str, text: str):
        write_text(self.path / name, text)

    def write_results(self, name: str, results: dict):
        self.write_text(name, json.dumps(results | {"made_by": self.made_by}, indent=1) + "\n")

    def write_rows(self, name: str, rows: list[dict]):
        self.write_text(name, csv_text(rows))

    def rows(self, name: str) -> list[dict]:
        return read_rows(self.path / name)

    def append_row(self, name: str, row: dict):
        """Adds a row to a CSV file, whose header is the first row's keys."""
        with (self.path / name).open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text([row], header=not file.tell()))
        flush(self.path / name)

    def append_text(self, name: str, text: str):
        """Adds `text`, whose first line is "--- step N ..."; a later line that looks like one is indented."""
        with (self.path / name).open("a", newline="\n", encoding="utf-8") as file:
            file.write(text.replace("\n---", "\n ---") + "\n")
        flush(self.path / name)

    def cut_logs(self, step: int):
        """Drops what was logged of updates after `step`, and a last line without its end."""
        for name, begins in LOGS.items():
            if (path := self.path / name).exists():
                content = path.read_bytes()
                later = (m.start() for m in re.finditer(begins, content, re.MULTILINE) if int(m[1]) > step)
                os.truncate(path, next(later, content.rfind(b"\n") + 1))


def locked(folder: Path) -> TextIO:
    """A file that holds `folder` until it is closed or the process ends. UserError where another does."""
    file = open(folder / "lock", "a+", encoding="utf-8")
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = (folder / "lock").read_text().strip() or "another process"
        raise UserError(f"{folder} is in use by {holder}; wait for it to end, or stop it") from None
    except OSError as error:  # some network file systems have no locks
        print(f"t1mini: {folder} has no lock ({error.strerror}): start no second run there", file=sys.stderr)
    file.truncate(0)
    print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
    return file


class Stopped(Exception):
    """A run was stopped by a signal; `code` is what a shell expects then (128 + the signal)."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.code = 128 + number


class Stopping:
    """Hears Ctrl-C and SIGTERM while the block runs, which asks for the first by `due` when its step is done.

    A second, or the first where there is no step to finish (`at_once`), is raised as Stopped where it comes.
    """

    def __init__(self, at_once: bool = False):
        self.at_once, self.number = at_once, 0

    def __enter__(self):
        self.before = {number: signal.signal(number, self.hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind, error, trace):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame):
        if self.at_once or self.number:
            raise Stopped(number, "stopped")
        self.number = number

    def due(self, team: Team = Team(), device: str = "cpu") -> int:
        """The signal that any rank has heard, or 0."""
        return int(team.max(torch.tensor(self.number, device=device)))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder, which becomes `path` when the block ends, in place of none but such a block's."""
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists():
        raise FileExistsError(f"{path} already holds files")
    part = Path(f"{path}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed here
    new = part / "new"
    new.mkdir(parents=True)
    yield new
    for file in new.iterdir():
        flush(file)
    write_text(new / MANIFEST, json.dumps(fingerprints(new), indent=1))
    if path.exists():
        os.replace(path, part / "old")
    replace(new, path)
    shutil.rmtree(part)


def write_text(path: str | Path, text: str):
    part = Path(f"{path}.part")
    part.write_bytes(text.encode())
    replace(part, path)


def replace(part: Path, path: str | Path):
    """Renames `part`, once the disk has it, to `path`."""
    flush(part)
    os.replace(part, path)
    flush(Path(path).parent)


def flush(path: Path):
    """Waits until the disk has a file, or the names in a folder where the system can say so."""
    if path.is_file() or os.name != "nt":
        file = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def fingerprints(folder: Path) -> dict[str, dict]:
    """Size and SHA-256 of each file."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    return found


def damage(folder: Path) -> str:
    """What is wrong with a folder that has a manifest: "" where every file is as it was written."""
    try:
        expected, found = read_object(folder / MANIFEST, most=2**24), fingerprints(folder)
    except (UserError, OSError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    for name in expected:
        if expected[name] != found.get(name):
            return f"{excerpt(name)} is {'damaged' if name in found else 'missing'}"
    return ""


def require_whole(folder: Path):
    """UserError where a folder with a manifest is not what was written; other programs' folders have none."""
    if (folder / MANIFEST).exists() and (wrong := damage(folder)):
        raise UserError(f"{folder}: {wrong}; copy it again, or remove {MANIFEST} if you changed it yourself")


def csv_text(rows: list[dict], header: bool = True) -> str:
    """Rows as CSV, floats with six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=rows[0])
    if header:
        writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()})
    return text.getvalue()


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV file, none where there is no such file."""
    with contextlib.suppress(FileNotFoundError), path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
    return []
