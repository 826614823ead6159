"""The state of a training run on disk, so that a run that was stopped goes on as if it had not been.

    RUN/state/NNNNNN/   policy, reference, adamw, counts .safetensors    what training has changed
                        state.json                                       the update, the sizes of the run's logs
                        manifest.json                                    every file's size and SHA-256

Nothing else is needed: rollout noise, the order of problems and that of traces follow from the seed and the update's number. A state
appears under its name when all of it is on the disk (t1mini.runs.durable); one whose files do not match its manifest does not count, and
the one before is used. Logs are cut back to where they were, so that no row appears twice. A run that was killed before its first
state begins again.

See a run that was cut anywhere end as the uncut one: python -m pytest tests/test_run_state.py
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from t1mini.runs.settings import UserError
from t1mini.runs.team import Team
from t1mini.runs.durable import damage, flush, whole_folder
from t1mini.runs.guards import Guard
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.folder import RunFolder
from t1mini.runs.stopping import Stop, Stopped

LOGS = ("metrics.csv", "timing.csv", "events.csv", "samples.txt")


class TrainingState:
    """Restores a run from --resume, saves it every --state-every updates, and where a signal or a setback ends the sitting.

    `step` counts the updates done, `models` are modules by name, `losses` are what SFT has not reported yet.
    """

    def __init__(self, config, folder: RunFolder | None, team: Team, optimiser: Optimiser, **models: nn.Module):
        self.config, self.folder, self.team, self.optimiser, self.models = config, folder, team, optimiser, models
        self.step = self.saved = 0
        self.losses, self.stop = [], Stop()
        in_a_row = self.restore(Path(config.resume)) if config.resume else 0
        self.guard = Guard(folder, team, config.device, in_a_row)

    def restore(self, run: Path) -> int:
        """Takes up the newest state of `run`. Returns how many updates in a row had been refused."""
        step, tensors = load_state(run, self.team.leads)
        if self.team.leads:
            rewind(run, step)
        if not step:
            return 0
        try:
            for name, model in self.models.items():
                model.load_state_dict(tensors[name])
            self.optimiser.load_state(tensors["adamw"])
            self.losses, refused = list(tensors["counts"]["losses"].to(self.config.device)), int(tensors["counts"]["refused"])
        except (KeyError, RuntimeError) as error:
            raise UserError(f"--resume {run}: its state is not one of this model: {error}") from None
        self.step = self.saved = self.optimiser.updates = step
        return refused

    def __enter__(self) -> "TrainingState":
        self.stop.__enter__()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.stop.__exit__()
        if isinstance(error, Exception) and not isinstance(error, Stopped) and self.folder:
            disk = isinstance(error, (OSError, SafetensorError))
            if self.saved < self.step and self.optimiser.updates <= self.step and not disk:  # else the models are ahead of `step`
                self.save()
            if self.saved:
                error.add_note(f"; nothing is lost up to update {self.saved}: go on with {self.folder.resume}")

    def after(self, step: int) -> None:
        """Saves where it is time. Stopped, after saving, where a signal has come."""
        self.step = step
        signal = self.stop.due(self.team, self.config.device)
        if self.folder and (signal or step % self.config.state_every == 0):
            self.save()
        if signal:
            raise Stopped(signal, f"stopped after update {step}")

    def save(self) -> None:
        counts = {"losses": torch.stack(self.losses) if self.losses else torch.zeros(0), "refused": torch.tensor(self.guard.in_a_row)}
        save_state(self.folder.path, self.step, {**{name: model.state_dict() for name, model in self.models.items()},
                                                 "adamw": self.optimiser.state(), "counts": counts}, self.config.keep_last)
        self.saved = self.step


def save_state(run: Path, step: int, tensors: dict[str, dict[str, Tensor]], keep: int = 2) -> None:
    """Writes the state after `step` updates, then removes all but the last `keep`."""
    logs = {name: (run / name).stat().st_size for name in LOGS if (run / name).exists()}
    for name in logs:
        flush(run / name)
    with whole_folder(run / "state" / f"{step:06}") as folder:
        for name, group in tensors.items():
            save_file({key: x.detach().cpu().contiguous() for key, x in group.items()}, folder / f"{name}.safetensors")
        (folder / "state.json").write_text(json.dumps({"step": step, "logs": logs}, indent=1), encoding="utf-8")
    for old in states(run)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def states(run: Path) -> list[Path]:
    """The folders of a run's states, the newest last."""
    return sorted(path for path in (run / "state").glob("[0-9]*") if path.name.isdecimal())


def load_state(run: Path, leads: bool = True) -> tuple[int, dict[str, dict[str, Tensor]]]:
    """The newest whole state: (step, tensors by file), or (0, {}) where the run has saved none yet. UserError where all are damaged."""
    for folder in reversed(states(run)):
        wrong = damage(folder)
        if not wrong:
            return int(folder.name), {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
        if leads:
            print(f"t1mini: {folder}: {wrong}; looking for an earlier state", file=sys.stderr)
    if states(run):
        raise UserError(f"--resume {run}: none of its states is whole; begin again with another --out")
    return 0, {}


def rewind(run: Path, step: int) -> None:
    """Cuts the run's logs back to what they were after `step` updates, and removes what is left of later states."""
    logs = json.loads((run / "state" / f"{step:06}" / "state.json").read_text(encoding="utf-8"))["logs"] if step else {}
    for name in LOGS:
        if name in logs:
            os.truncate(run / name, logs[name])
        else:
            (run / name).unlink(missing_ok=True)
    for later in states(run):
        if int(later.name) > step:
            shutil.rmtree(later)
