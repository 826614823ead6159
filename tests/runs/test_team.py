"""Two ranks take the same steps as one process, up to rounding, leave one set of files, and end together."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from t1mini.runs.checkpoint import load_model
from t1mini.runs.team import Team

ROOT = Path(__file__).parents[2]
STAGES = {
    "sft": ["--traces", "50", "--batch", "7", "--init", "data/tiny-sft"],
    "rl": ["--steps", "2", "--prompts", "3", "--k", "4", "--max-new-tokens", "40", "--micro-batch-tokens", "150"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_equal_one_process(stage, tmp_path):
    for workers in (1, 2):
        command = [sys.executable, "-m", "t1mini", stage, *STAGES[stage], "--threads", "2", "--workers", str(workers), "--out", str(tmp_path / str(workers))]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.count("saved") == 1
    one, two = (list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in "12")
    assert len(one) == len(two) and one
    for a, b in zip(one, two):
        for column in a:  # at log-probability gaps of rounding size, the gap itself is rounding
            assert float(b[column]) == pytest.approx(float(a[column]), rel=1e-2, abs=1e-4), column
    start, *ends = (load_model(path).state_dict() for path in (ROOT / "data/tiny-sft", tmp_path / "1/final", tmp_path / "2/final"))
    moved = sum((ends[0][name] - start[name]).abs().sum() for name in start)
    apart = sum((ends[0][name] - ends[1][name]).abs().sum() for name in start)
    assert 0 < moved and apart < 0.02 * moved


def test_a_team_of_one_shares_nothing_and_changes_nothing():
    team, values = Team(), torch.tensor([1.0, 2.0])
    assert team.leads and team.share([1, 2, 3]) == [1, 2, 3]
    assert team.sum(values).tolist() == team.max(values).tolist() == [1.0, 2.0]


def test_shares_are_disjoint_and_complete():
    parts = [Team(rank, 3).share(range(8)) for rank in range(3)]
    assert sorted(i for part in parts for i in part) == list(range(8))
    assert [Team(rank, 3).leads for rank in range(3)] == [True, False, False]


RUN = ["rl", "--init", "data/tiny-sft", "--steps", "500", "--prompts", "4", "--k", "4", "--max-new-tokens", "60", "--threads", "2", "--workers", "2"]


def start(out: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "t1mini", *RUN, "--out", str(out)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def worker_of(process: subprocess.Popen) -> int:
    """The other rank that it has started; waits until there is one."""
    while process.poll() is None:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if b"-m\0t1mini" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.01)


def ended(pid: int, seconds: float = 20) -> bool:
    """Whether the process ends within some seconds; one that nobody waits for counts as ended."""
    for _ in range(int(seconds / 0.05)):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("later", [False, True], ids=["at its start", "in training"])
def test_neither_outlives_the_other(tmp_path, later):
    process = start(tmp_path / "a")
    worker = worker_of(process)
    while later and not (tmp_path / "a/metrics.csv").exists():
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 2 and ("has ended" in printed or "ended before it began" in printed) and "Traceback" not in printed
    process = start(tmp_path / "b")
    worker = worker_of(process)
    while later and not (tmp_path / "b/metrics.csv").exists():
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert ended(worker)
