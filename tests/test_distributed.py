"""Two ranks take the same steps as one process, up to rounding, and leave one set of files."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t1mini.checkpoint import load_model
from t1mini.distributed import Team

ROOT = Path(__file__).parent.parent
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
