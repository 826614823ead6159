"""The run folder: everything a run leaves behind, as plain files.

    config.json     the settings in force, every one of them, and what made the run: version, commit, torch, device
    metrics.csv     a row an update: what was learned (the same again for the same seed)
    timing.csv      a row an update: seconds of its parts (never the same again); padding, the share of an update's rows that this rank pads
    events.csv      updates that were refused, and signs of ill health (t1mini.runs.guards)
    samples.txt     responses as text
    step-NNNN/, final/      checkpoints
    state/          what --resume needs (t1mini.runs.state)
    lock            held while a run writes here (t1mini.runs.lock)

See one: python -m t1mini rl --init data/tiny-sft --steps 5 --out /tmp/run, then look into /tmp/run.
"""

import contextlib
import csv
import io
import json
import platform
import shlex
import subprocess
from pathlib import Path

import torch

from t1mini import __version__
from t1mini.runs.settings import StageConfig, UserError, default_out
from t1mini.runs.durable import write_text
from t1mini.runs.lock import NAME, FolderLock
from t1mini.runs.stopping import Stopped


class RunFolder:
    """Creates `path`, or opens it where `config.resume` says so, and keeps other runs out of it while the block runs.

    `resume` is the command that goes on with the run. UserError where the folder cannot be written to, holds anything already, or is in use.
    """

    def __init__(self, path: str | Path, config: StageConfig, resume: str = ""):
        self.path, self.resume = Path(path), resume
        self.made_by = made_by(config)
        try:
            if not getattr(config, "resume", ""):
                self.require_empty()
                self.path.mkdir(parents=True, exist_ok=True)
            self.lock = FolderLock(self.path)
            self.write_json("config.json", config.to_dict() | {"made_by": self.made_by})
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None

    @classmethod
    def open(cls, config, stage: str, leads: bool = True):
        """The folder of --resume, or a new one; None for a rank that does not lead."""
        if not leads:
            return contextlib.nullcontext()
        path = Path(config.resume) if config.resume else default_out(config, stage)
        return cls(path, config, resume=f"python -m t1mini {stage} --resume {shlex.quote(str(path))}")

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.lock.release()
        if isinstance(error, Stopped) and self.resume and not hasattr(error, "__notes__"):
            error.add_note(f"; go on with {self.resume}")

    def require_empty(self) -> None:
        """UserError unless nothing is there, or only what a run leaves that was killed before it began."""
        if self.path.is_dir() and any(file.name != NAME and file.suffix != ".part" for file in self.path.iterdir()):
            if (self.path / "config.json").exists():
                raise UserError(f"{self.path} already holds a run; go on with it by --resume, choose another --out, or remove it")
            raise UserError(f"{self.path} already holds files; choose another --out or remove it")

    def write_json(self, name: str, content) -> None:
        write_text(self.path / name, json.dumps(content, indent=1) + "\n")

    def write_results(self, name: str, results: dict) -> None:
        """`results`, and what they were made by."""
        self.write_json(name, results | {"made_by": self.made_by})

    def write_text(self, name: str, text: str) -> None:
        write_text(self.path / name, text)

    def append_row(self, name: str, row: dict) -> None:
        """Adds a row to a CSV file, whose header is the first row's keys."""
        path = self.path / name
        new = not path.exists() or not path.stat().st_size
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(csv_text([row], header=new))

    def write_rows(self, name: str, rows: list[dict]) -> None:
        """A CSV file of these rows."""
        write_text(self.path / name, csv_text(rows))

    def rows(self, name: str) -> list[dict[str, str]]:
        return read_rows(self.path / name)

    def append_text(self, name: str, text: str) -> None:
        with (self.path / name).open("a", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")


def csv_text(rows: list[dict], header: bool = True) -> str:
    """Rows as CSV, floats with six digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=rows[0])
    if header:
        writer.writeheader()
    writer.writerows({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows)
    return text.getvalue()


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def made_by(config: StageConfig) -> dict[str, str | None]:
    """What a result depends on besides its settings: versions, the commit if this is a git checkout, and the device."""
    cuda = config.device.startswith("cuda")
    return {"t1mini": __version__, "commit": commit(), "python": platform.python_version(), "torch": torch.__version__,
            "device": torch.cuda.get_device_name(config.device) if cuda else f"cpu ({platform.machine()})"}


def commit() -> str | None:
    """The commit of the checkout that this package lies in, with "-dirty" where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None
