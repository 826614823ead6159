"""The clock: where the seconds of a step go."""

import time

import torch


class Clock:
    """Adds up the seconds between laps, by name. Given a CUDA device it waits for it at every lap: work there is only queued."""

    def __init__(self, device: str = "cpu"):
        self.seconds: dict[str, float] = {}
        self.wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        self.restart()

    def restart(self) -> None:
        """What went before belongs to no lap."""
        self.wait()
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        self.wait()
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.last
        self.last = now
