"""Stopping: Ctrl-C and SIGTERM let the current step finish, so that what it learned can be saved.

A second Ctrl-C stops at once. Of several ranks each hears the signal on its own, or not at all; `due` asks whether any has.
"""

import signal

import torch

from t1mini.runs.team import Team

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A run was stopped by a signal; `code` is what a shell expects then (128 + the signal)."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.code = 128 + number


class Stop:
    """Notes a signal while the block runs."""

    def __enter__(self) -> "Stop":
        self.number = 0
        self.before = {number: signal.signal(number, self.note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, frame) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number

    def due(self, team: Team = Team(), device: str = "cpu") -> int:
        """The signal that any rank has heard, or 0."""
        return int(team.max(torch.tensor(self.number, device=device)))


class AtOnce(Stop):
    """Where there is no step to finish: the signal ends the block."""

    def note(self, number: int, frame) -> None:
        raise Stopped(number, "stopped")
