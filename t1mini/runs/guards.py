"""Guards: what is looked at in every update, so that a bad batch does not cost the run and an ailing run says what ails it.

    refused           a reward, log-probability, loss or gradient is not finite: the update is not applied and its batch is written
                      to RUN/refused. After three in a row the run stops, with the weights of the last good update.
    all tied          every prompt's K rewards are equal: nothing tells good responses from bad ones
    all penalised     every response got -1
    entropy collapse  under 0.03 nats a token: the policy has all but stopped exploring

Each is a row of RUN/events.csv. The first of its kind is also a line on the terminal, with what to try.

See each happen: python -m pytest tests/test_guards.py
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path

import torch
from tqdm import tqdm

from t1mini.runs.settings import UserError
from t1mini.runs.team import Team
from t1mini.runs.folder import RunFolder

IN_A_ROW = 3
COLLAPSED = 0.03  # nats a token
SIGNS = {  # of a metrics row: (does it show?, what to try)
    "all tied": (lambda row: row["tied_groups"] == 1,
                 "every prompt's responses earn the same: raise --k or --temperature, or take problems that are sometimes solved"),
    "all penalised": (lambda row: row["reward"] == -1,
                      "every response is penalised: raise --max-new-tokens or --repeat-limit, or begin from a better SFT model"),
    "entropy collapse": (lambda row: row["entropy"] < COLLAPSED and row["skipped_rows"] < 1,
                         f"the entropy is under {COLLAPSED} nats a token: raise --entropy-coef or --temperature, or lower --lr"),
}


class Guard:
    """Watches a run's updates. `in_a_row` counts the latest refused ones. Only the rank that leads has a `folder`."""

    def __init__(self, folder: RunFolder | None, team: Team, device: str = "cpu", in_a_row: int = 0):
        self.folder, self.team, self.device, self.in_a_row = folder, team, device, in_a_row
        self.counts = Counter(row["event"] for row in folder.rows("events.csv")) if folder else Counter()

    def refuses(self, quantities: dict[str, torch.Tensor | float]) -> str:
        """The first of the quantities that is not finite on any rank, or ""."""
        bad = torch.stack([~torch.as_tensor(x, device=self.device).isfinite().all() for x in quantities.values()])
        shared = self.team.max(bad.float()).tolist()
        name = next((name for name, is_bad in zip(quantities, shared) if is_bad), "")
        self.in_a_row = self.in_a_row + 1 if name else 0
        return name

    def refuse(self, step: int, name: str, batch: list[dict]) -> None:
        """Notes that update `step` was not applied and writes this rank's part of its batch. UserError for the third in a row."""
        if run := self.team.text(str(self.folder.path) if self.folder else "", self.device):
            folder = Path(run) / "refused"
            folder.mkdir(exist_ok=True)
            path = folder / f"update-{step:06}-rank-{self.team.rank}.jsonl"
            path.write_text("".join(json.dumps(_plain(row)) + "\n" for row in batch), encoding="utf-8")
        self.note(step, "refused", f"update {step} was not applied: its {name} is not finite; its batch is in {run}/refused")
        if self.in_a_row >= IN_A_ROW:
            raise UserError(f"{self.in_a_row} updates in a row were not applied, the last because its {name} is not finite; "
                            f"the weights are those of the last good one: lower --lr, and look at {run}/refused")

    def watch(self, step: int, row: dict[str, float]) -> None:
        """Notes what a metrics row shows."""
        for name, (shows, advice) in SIGNS.items():
            if shows(row):
                self.note(step, name, advice)

    def note(self, step: int, event: str, text: str) -> None:
        self.counts[event] += 1
        if self.folder:
            self.folder.append_row("events.csv", {"step": step, "event": event, "count": self.counts[event]})
            if self.counts[event] == 1:
                tqdm.write(f"t1mini: update {step}: {text} (all such updates: {self.folder.path / 'events.csv'})", file=sys.stderr)


def _plain(row: dict) -> dict:
    """`row` with numbers that JSON has no word for as text."""
    return {name: str(x) if isinstance(x, float) and not math.isfinite(x) else x for name, x in row.items()}
