"""The run folder: everything a run leaves behind, as plain files.

    config.json     the settings in force, every one of them
    metrics.csv     a row a step: what was learned (the same again for the same seed)
    timing.csv      a row a step: seconds of its parts (never the same again); padding, the share of an update's rows that this rank pads
    samples.txt     responses as text
    step-NNNN/, final/      checkpoints
    state/          what --resume needs (t1mini.run_state)

See one: python -m t1mini rl --init data/tiny-sft --steps 5 --out /tmp/run, then look into /tmp/run.
"""

import csv
import json
from pathlib import Path

from t1mini.config import StageConfig, UserError, default_out


class RunFolder:
    """Creates `path`. UserError if that cannot be done or if anything is in it already."""

    def __init__(self, path: str | Path, config: StageConfig):
        self.path = Path(path)
        try:
            if self.path.is_dir() and any(self.path.iterdir()):
                holds = "a run" if (self.path / "config.json").exists() else "files"
                raise UserError(f"{self.path} already holds {holds}; choose another --out or remove it")
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_json("config.json", config.to_dict())
        except OSError as error:
            raise UserError(f"cannot write to {self.path}: {error.strerror}; choose another --out") from None

    @classmethod
    def open(cls, config, stage: str) -> "RunFolder":
        """The folder of --resume, or a new one."""
        if not config.resume:
            return cls(default_out(config, stage), config)
        folder = cls.__new__(cls)
        folder.path = Path(config.resume)
        return folder

    def write_json(self, name: str, content) -> None:
        (self.path / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def append_row(self, name: str, row: dict) -> None:
        """Adds a row to a CSV file, whose header is the first row's keys."""
        path = self.path / name
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=row)
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})

    def append_text(self, name: str, text: str) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
