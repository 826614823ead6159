"""The run folder: everything a run leaves behind, as plain files, each of them whole or not there.

    config.json     the settings in force, what made the run: version, commit, torch, device; and of a run
                    that --resume can go on with, fingerprints of the files of its --data and --init
    metrics.csv     a row an update: what was learned (the same again for the same seed)
    timing.csv      a row an update: seconds of its parts (never the same again)
    events.csv      updates that were refused, and signs of ill health
    samples.txt     responses as text
    groups.jsonl, thinking.jsonl    what python -m t1mini view shows: a prompt's responses token by token, and
                    the same held-out problems answered at each checkpoint
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
from pathlib import Path

from t1mini.runs.jsonl import excerpt, read_object
from t1mini.runs.machine import made_by
from t1mini.runs.settings import StageConfig, UserError, default_out

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None

BEGINS = {".csv": rb"^(\d+),", ".txt": rb"^--- step (\d+)", ".jsonl": rb'^{"step": (\d+)'}  # an update
LOGS = ("metrics.csv", "timing.csv", "events.csv", "eval.csv", "samples.txt", "groups.jsonl",
        "thinking.jsonl")


class RunFolder(contextlib.AbstractContextManager):
    """The folder of --resume, or a new one, held against other runs. UserError where it is taken."""

    def __init__(self, config: StageConfig, stage: str):
        begun = getattr(config, "resume", None)  # None for a stage that is short, and begins again
        self.path, self.made_by = Path(begun or default_out(config, stage)), made_by(config)
        self.resume = ""
        if begun is not None:
            self.resume = f"python -m t1mini {stage} --resume {shlex.quote(str(self.path))}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # a run that was killed before it did anything leaves these
            if not begun and {*os.listdir(self.path)} - {"lock", "config.json", "config.json.part"}:
                raise UserError(f"{self.path} already holds files; choose another --out (a run that trains "
                                "or collects goes on with --resume)")
            self.lock = open(self.path / "lock", "w")
            if fcntl:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files = {} if begun is None else contents(config)
            kept = read_object(self.path / "config.json").get("begun_with", files) if begun else files
            kept = kept if isinstance(kept, dict) else {}
            for name, content in (kept | files).items():  # a file may have moved, none be new or gone
                if content not in kept.values() or content not in files.values():
                    raise UserError(f"{name} is not what {self.path} was begun with: put "
                                    "that back, or begin a new run with another --out")
            self.write_results("config.json", config.to_dict() | {"begun_with": files})
        except BlockingIOError:
            raise UserError(f"{self.path} is in use by another run; wait for it to end, or stop it") from None
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None

    @classmethod
    def open(cls, config: StageConfig, stage: str, leads: bool):
        """None for a rank that does not lead."""
        return cls(config, stage) if leads else contextlib.nullcontext()

    def __exit__(self, kind, error, trace):
        self.lock.close()
        if isinstance(error, KeyboardInterrupt) and self.resume and not hasattr(error, "__notes__"):
            error.add_note(f"; go on with {self.resume}")

    def write_text(self, name, text):
        write_text(self.path / name, text)

    def write_results(self, name, results: dict):
        write_json(self.path / name, results | {"made_by": self.made_by})

    def append_row(self, name, row: dict):
        """Adds a row to a CSV file, whose header is the first row's keys."""
        header, end, line = csv_text([row]).partition("\r\n")
        self.append(name, line, header + end)

    def append(self, name, text, header=""):
        """Adds `text` to a file, which begins with `header`."""
        with (self.path / name).open("ab") as file:
            file.write((text if file.tell() else header + text).encode())
        flush(self.path / name)

    def cut_logs(self, step: int):
        """Drops what was logged of updates after `step`, and a last line without its end."""
        for name in LOGS:
            with contextlib.suppress(FileNotFoundError), (self.path / name).open("rb+") as file:
                content = file.read()
                parts = re.finditer(BEGINS[Path(name).suffix], content, re.MULTILINE)
                later = (part.start() for part in parts if int(part[1]) > (step or -1))  # 0: all begins again
                file.truncate(next(later, content.rfind(b"\n") + 1))


def contents(config):
    """Fingerprints of the files of problems, of --init and of a reader's code: what a run goes on with."""
    data, init, *others = (Path(getattr(config, name, "") or " ")
                           for name in ("data", "init", "eval_data", "task", "exercise"))
    files = data, data / "train.jsonl", data / "validation.jsonl", *others, *sorted(init.glob("*.[js]*"))
    return {f"{file}": fingerprint(file) for file in files if file.is_file()}


class Stopped(KeyboardInterrupt):
    """A run was stopped by a signal; `code` is what a shell expects then (128 + the signal)."""

    def __init__(self, number, message):
        super().__init__(message)
        self.code = 128 + number


class Stopping:
    """While the block runs, a first Ctrl-C or SIGTERM is only noted: as `number`, for when a step is done."""

    def __enter__(self):
        self.number = 0
        self.before = {number: signal.signal(number, self.hear) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number, frame):
        self.number = number
        Stopping.__exit__(self)  # a second does not wait


@contextlib.contextmanager
def whole_folder(path: Path):
    """An empty folder, which becomes `path` when the block ends, in place of none but such a block's."""
    if path.exists() and any(path.iterdir()) and not (path / "manifest.json").exists():
        raise FileExistsError(f"{path} already holds files")
    part = Path(f"{path}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed here
    new = part / "new"
    new.mkdir(parents=True)
    yield new
    manifest = {}
    for file in sorted(new.iterdir()):
        flush(file)
        manifest[file.name] = fingerprint(file)
    write_json(new / "manifest.json", manifest)
    for file in new.iterdir():
        shutil.copymode(new / "manifest.json", file)  # as umask says: safetensors makes its owner's alone
    if path.exists():
        os.replace(path, part / "old")
    os.replace(new, path)
    shutil.rmtree(part)


def write_text(path, text: str):
    part = Path(f"{path}.part")
    part.write_bytes(text.encode())
    flush(part)
    os.replace(part, path)


def write_json(path, content: dict):
    write_text(path, json.dumps(content, indent=1) + "\n")


def json_lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def flush(path: Path):
    """Waits until the disk has a file."""
    with path.open("rb+") as file:
        os.fsync(file)


def fingerprint(path: Path):
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def require_whole(folder: Path):
    """UserError where a file is not as the folder's manifest says, or there is no manifest."""
    for name, expected in read_object(folder / "manifest.json").items():
        path = folder / Path(name).name
        if not path.is_file() or fingerprint(path) != expected:
            raise UserError(f"{folder}: {excerpt(name)} is damaged or missing; copy it again, or remove "
                            "manifest.json if you changed it yourself")


def csv_text(rows: list):
    """Rows as CSV, floats with six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{x:.6g}" if isinstance(x, float) else x for key, x in row.items()})
    return text.getvalue()


def read_rows(path: Path):
    """The rows of a CSV file, none where there is no such file."""
    text = path.read_text("utf-8") if path.exists() else ""
    return list(csv.DictReader(io.StringIO(text)))
