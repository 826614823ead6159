"""The state of a training run, so that one that was stopped goes on as if it had not been.

    RUN/state/NNNNNN/   policy, reference, adamw .safetensors    what N updates have changed
                        counts.safetensors                       losses not reported yet
                        manifest.json                            every file's size and SHA-256

Nothing else is needed: rollout noise, the order of problems and that of traces follow from the seed and the
update's number. A state appears when all of it is on the disk; where one is damaged, the one before is used.
The logs are cut back to it, so that no row comes twice. A run killed before its first state begins again.

An update in which anything is not finite is refused: not applied, its batch written to RUN/refused. After
three in a row the run stops, with the weights of the last good one. Refusals and signs of ill health are rows
of events.csv, the first of a kind also a line on the terminal.

See a run that was killed anywhere end as the uncut one: python -m pytest tests/runs/test_state.py
"""

import contextlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from t1mini.runs.folder import (RunFolder, Stopped, Stopping, json_lines, read_rows, require_whole,
                                whole_folder, write_text)
from t1mini.runs.machine import GIVE_BACK_EVERY, give_back
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.settings import UserError
from t1mini.runs.team import Team


class TrainingState(Stopping):
    """Where a run stands: at its beginning, or where the run of --resume was left.

    `step` counts the updates done, `losses` are what SFT has not reported yet. Only the rank that leads has a
    `folder`. As a block, it hears signals, and saves what an error would lose. Updates count from 1, as in
    metrics.csv, but for those that `updates` yields.
    """

    def __init__(self, config, folder: RunFolder | None, team: Team, optimiser: Optimiser, **models):
        self.config, self.folder, self.team = config, folder, team
        self.optimiser, self.models = optimiser, models
        self.step = self.saved = self.given_back = 0
        self.losses = []
        if config.resume:
            self.restore(Path(config.resume))

    def restore(self, run: Path):
        """Takes up the newest state of `run`, and removes what the run has left of later updates."""
        step, tensors = load_state(run)
        if self.folder:
            self.folder.cut_logs(step)
            for later in states(run):
                if int(later.name) > step:
                    print(f"t1mini: {later} is damaged; going on from update {step}", file=sys.stderr)
                    shutil.rmtree(later)
        if step:
            try:
                for name, model in self.models.items():
                    model.load_state_dict(tensors[name])
                self.optimiser.load_state(tensors["adamw"])
                self.losses = [*tensors["counts"]["losses"].to(self.config.device)]
            except (KeyError, RuntimeError) as error:
                raise UserError(f"--resume {run}: its state is not one of this model: {error}") from None
            self.step = self.saved = self.optimiser.updates = step

    def __exit__(self, kind, error, trace):
        super().__exit__()
        if self.folder and isinstance(error, Exception):
            with contextlib.suppress(OSError, SafetensorError):  # what a full disk raises
                if self.saved < self.step >= self.optimiser.updates:  # else the models are ahead
                    self.save()
            if self.saved:
                error.add_note(f"; nothing is lost up to update {self.saved}: "
                               f"go on with {self.folder.resume}")

    def updates(self, total, label):
        """The updates still to do of `total`, counted from 0, with a progress bar: self.bar."""
        self.bar = tqdm(range(self.step, total), label, unit="step", mininterval=1,
                        disable=not self.team.leads or None)  # None: not into files
        return self.bar

    def record(self, row: dict, seconds: dict, text=""):
        """What an update has to report: a row of metrics.csv, one of timing.csv, and text for samples.txt.

        The text begins with "--- step N ..."; a later line that looks like one is indented.
        """
        if self.folder:
            self.folder.append_row("metrics.csv", row)
            self.folder.append_row("timing.csv", {"step": row["step"], **seconds})
            if text:
                self.folder.append("samples.txt", text.replace("\n---", "\n ---") + "\n")

    def refuse(self, step, quantity, rows: list):
        """Notes that update `step` was not applied and writes `rows`, this rank's part of its batch.

        UserError, on the rank that leads, for the third in a row.
        """
        device = self.config.device
        folder = Path(self.team.text(f"{self.folder.path}" if self.folder else "", device), "refused")
        folder.mkdir(exist_ok=True)
        plain = json.loads(json.dumps(rows), parse_constant=str)  # JSON has no NaN: as text
        write_text(folder / f"update-{step:06}-rank-{self.team.rank}.jsonl", json_lines(plain))
        self.team.text("", device)  # every rank has written its rows
        why = f"its {quantity} is not finite; its batch is in {folder}"
        refused = self.note(step, "refused", f"update {step} was not applied: {why}")
        if {f"{step - 2}", f"{step - 1}"} <= {*refused}:
            raise UserError(f"3 updates in a row were not applied, the last because {why}, the "
                            "weights are those of the last good one: lower --lr")

    def note(self, step, event, advice):
        """A row of events.csv, the first of a kind also a line on the terminal. Returns the kind's steps."""
        if not self.folder:
            return []
        file = self.folder.path / "events.csv"
        steps = [row["step"] for row in read_rows(file) if row["event"] == event] + [f"{step}"]
        self.folder.append_row("events.csv", {"step": step, "event": event, "count": len(steps)})
        if len(steps) == 1:
            tqdm.write(f"t1mini: update {step}: {advice} (all such updates: {file})", file=sys.stderr)
        return steps

    def after(self, step):
        """Update `step` is done: saves where it is time. Stopped, after saving, where a signal has come."""
        self.step = step
        if (now := time.monotonic()) > self.given_back + GIVE_BACK_EVERY:
            give_back()
            self.given_back = now
        signal = int(self.team.max(torch.tensor(self.number, device=self.config.device)))
        if self.folder and (signal or not step % self.config.state_every):
            self.save()
        if signal:
            raise Stopped(signal, f"stopped after update {step}")

    def save(self):
        """Writes the state, then removes all but the last --keep-last."""
        groups = {name: model.state_dict() for name, model in self.models.items()}
        groups |= {"adamw": self.optimiser.state(), "counts": {"losses": torch.tensor(self.losses)}}
        with whole_folder(self.folder.path / "state" / f"{self.step:06}") as folder:
            for name, tensors in groups.items():
                save_file(tensors, folder / f"{name}.safetensors")
        self.saved = self.step
        for old in states(self.folder.path)[: -self.config.keep_last]:
            shutil.rmtree(old, ignore_errors=True)


def states(run: Path):
    """The folders of a run's states, the newest last."""
    saved = run / "state"
    if not os.path.lexists(saved):  # where it is and cannot be listed, nothing may be begun again
        return []
    return sorted(saved / name for name in os.listdir(saved) if name.isdigit())


def load_state(run: Path):
    """The newest whole state, (step, tensors by group), or (0, {}). UserError where all are damaged."""
    for folder in reversed(states(run)):
        with contextlib.suppress(UserError, OSError):
            require_whole(folder)
            return int(folder.name), {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
    if states(run):
        raise UserError(f"--resume {run}: none of its states is whole; begin again with another --out")
    return 0, {}
