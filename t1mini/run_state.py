"""The state of a training run on disk, so that a run that was stopped goes on as if it had not been.

    RUN/state/NNNNNN/   policy, reference, adamw .safetensors        what training has changed
                        state.json                                   the step, every file's size and SHA-256, the sizes of the run's logs

Nothing else is needed: rollout noise, the order of problems and that of traces follow from the seed and the step. state.json is
written last, under another name, flushed and renamed; a state without it, or with a file that does not match it, does not count, and
the one before is used. Logs are cut back to where they were, so that no row appears twice.

See a run that was cut anywhere end as the uncut one: python -m pytest tests/test_run_state.py
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from t1mini.config import UserError
from t1mini.distributed import Team
from t1mini.optimiser import Optimiser
from t1mini.run_folder import RunFolder
from t1mini.stopping import Stop, Stopped

LOGS = ("metrics.csv", "timing.csv", "samples.txt")
KEEP = 2  # states


class TrainingState:
    """Restores a run from --resume, saves it every --state-every updates, and where a signal asks the run to stop.

    `models` are modules by name. `losses` are what SFT has not reported yet.
    """

    def __init__(self, config, stage: str, folder: RunFolder | None, team: Team, optimiser: Optimiser, **models: nn.Module):
        self.config, self.stage, self.folder, self.team, self.optimiser, self.models = config, stage, folder, team, optimiser, models
        self.step, self.losses, self.stop = 0, [], Stop()
        if not config.resume:
            return
        run = Path(config.resume)
        self.step, tensors = load_state(run, team.leads)
        try:
            for name, model in models.items():
                model.load_state_dict(tensors[name])
            optimiser.load_state(tensors["adamw"])
        except (KeyError, RuntimeError) as error:
            raise UserError(f"--resume {run}: its state is not one of this model: {error}") from None
        self.losses = list(tensors["losses"]["losses"])
        if team.leads:
            cut_logs(run, self.step)

    def __enter__(self) -> "TrainingState":
        self.stop.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.stop.__exit__(*error)

    def after(self, step: int) -> None:
        """Saves where it is time. Stopped, after saving, where a signal has come."""
        signal = self.stop.due(self.team, self.config.device)
        if self.folder and (signal or step % self.config.state_every == 0):
            losses = torch.stack(self.losses) if self.losses else torch.zeros(0)
            save_state(self.folder.path, step, {**{name: model.state_dict() for name, model in self.models.items()},
                                                "adamw": self.optimiser.state(), "losses": {"losses": losses}})
        if signal:
            run = self.folder.path if self.folder else ""
            raise Stopped(signal, f"stopped after update {step}; go on with python -m t1mini {self.stage} --resume {run}")


def save_state(run: Path, step: int, tensors: dict[str, dict[str, Tensor]]) -> None:
    """Writes the state after `step` updates and removes all but the last KEEP."""
    folder = run / "state" / f"{step:06}"
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed here
    folder.mkdir(parents=True)
    for name, group in tensors.items():
        save_file({key: x.detach().cpu().contiguous() for key, x in group.items()}, folder / f"{name}.safetensors")
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for path in sorted(folder.iterdir())}
    logs = {name: (run / name).stat().st_size for name in LOGS if (run / name).exists()}
    for path in (*folder.iterdir(), *(run / name for name in logs)):
        _flush(path)
    part = folder / "state.json.part"
    part.write_text(json.dumps({"step": step, "files": files, "logs": logs}, indent=1), encoding="utf-8")
    _flush(part)
    os.replace(part, folder / "state.json")
    for old in sorted(folder.parent.iterdir())[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def load_state(run: Path, leads: bool = True) -> tuple[int, dict[str, dict[str, Tensor]]]:
    """The newest whole state: (step, tensors). UserError where there is none."""
    for folder in sorted((run / "state").glob("[0-9]*"), reverse=True):
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            for name, file in state["files"].items():
                if (folder / name).stat().st_size != file["bytes"] or _digest(folder / name) != file["sha256"]:
                    raise ValueError(f"{name} is damaged")
            return state["step"], {Path(name).stem: load_file(folder / name) for name in state["files"]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            if leads:
                print(f"t1mini: {folder} is not whole ({error}); looking for an earlier one", file=sys.stderr)
    raise UserError(f"--resume {run}: it holds no state to go on from; begin again with another --out")


def cut_logs(run: Path, step: int) -> None:
    """Cuts the run's logs back to what they were after `step` updates."""
    logs = json.loads((run / "state" / f"{step:06}" / "state.json").read_text(encoding="utf-8"))["logs"]
    for name in LOGS:
        if name in logs:
            os.truncate(run / name, logs[name])
        else:
            (run / name).unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Waits until the file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
