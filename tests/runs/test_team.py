"""Two ranks take the same steps as one process, up to rounding, leave one set of files, and end together."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t1mini.__main__ import main
from t1mini.runs import team as teams
from t1mini.runs.checkpoint import load_model
from t1mini.runs.folder import RunFolder
from t1mini.runs.team import Team

ROOT = Path(__file__).parents[2]
STAGES = {
    "sft": ["--traces", "50", "--batch", "7", "--init", "data/tiny-sft"],
    "rl": ["--steps", "2", "--prompts", "3", "--k", "4", "--max-new-tokens", "40", "--micro-batch-tokens", "150"],
}
LONG = ["rl", "--init", "data/tiny-sft", "--steps", "500", "--prompts", "4", "--k", "4", "--max-new-tokens", "60", "--threads", "2"]


@pytest.fixture
def workers(monkeypatch) -> list[subprocess.Popen]:
    """The processes that this one starts as workers."""
    started, popen = [], subprocess.Popen

    def start(command, **how):
        started.append(popen(command, **how))
        return started[-1]

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(teams.subprocess, "Popen", start)
    return started


@pytest.mark.parametrize("stage", STAGES)
def test_two_ranks_equal_one_process(stage, tmp_path, workers, capsys):
    for size in "12":
        assert main([stage, *STAGES[stage], "--threads", size, "--workers", size, "--out", str(tmp_path / size)]) == 0
        assert capsys.readouterr().out.count("saved") == 1
    ranks = [process.returncode for process in workers if process.args[0] == sys.executable]
    assert len(ranks) == 1 and ranks[0] is not None
    one, two = (list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in "12")
    assert len(one) == len(two) and one
    for a, b in zip(one, two):
        for column in a:  # at log-probability gaps of rounding size, the gap itself is rounding
            assert float(b[column]) == pytest.approx(float(a[column]), rel=1e-2, abs=1e-4), column
    start, *ends = (load_model(path).state_dict() for path in (ROOT / "data/tiny-sft", tmp_path / "1/final", tmp_path / "2/final"))
    moved = sum((ends[0][name] - start[name]).abs().sum() for name in start)
    apart = sum((ends[0][name] - ends[1][name]).abs().sum() for name in start)
    assert 0 < moved and apart < 0.02 * moved


def test_a_team_of_one_changes_nothing_and_shares_are_disjoint_and_complete():
    values = torch.tensor([1.0, 2.0])
    assert Team().leads and Team().share([1, 2, 3]) == [1, 2, 3] and Team().text("café") == "café"
    assert Team().sum(values).tolist() == Team().max(values).tolist() == [1.0, 2.0]
    assert [Team(rank, 3).share(range(8)) for rank in range(3)] == [range(0, 8, 3), range(1, 8, 3), range(2, 8, 3)]


@pytest.mark.parametrize("moment", ["at its start", "in training"])
def test_a_worker_that_is_killed_ends_the_leader(tmp_path, workers, monkeypatch, capsys, moment):
    place, name = {"at its start": (teams.subprocess, "Popen"), "in training": (RunFolder, "append_row")}[moment]
    function = getattr(place, name)

    def call(*given, **how):
        result = function(*given, **how)
        for process in workers[1:]:  # the first asked git for the commit
            assert os.getsid(process.pid) == process.pid  # a terminal's Ctrl-C does not reach it
            process.kill()
        return result

    monkeypatch.setattr(place, name, call)
    assert main([*LONG, "--workers", "2", "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed and "was it killed" in printed
    assert ("ended before it began, with code -9" if moment == "at its start" else "nothing is lost up to update") in printed


LEADER = """
import subprocess, sys
from t1mini.__main__ import main
from t1mini.runs.folder import RunFolder

def speaking(function):
    def call(first, *rest, **how):
        result = function(first, *rest, **how)
        if not isinstance(first, list) or first[0] == sys.executable:
            print("now", flush=True)
        return result
    return call

{where} = speaking({where})
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("where", ["subprocess.Popen", "RunFolder.append_row"], ids=["at its start", "in training"])
def test_a_worker_does_not_outlive_a_killed_leader(tmp_path, where):
    words = [sys.executable, "-c", LEADER.format(where=where), *LONG, "--workers", "2", "--out", str(tmp_path / "run")]
    leader = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert leader.stdout.readline() == "now\n"
    os.kill(leader.pid, signal.SIGKILL)
    leader.communicate(timeout=300)  # ends when every process that can write to its stderr has ended, the worker among them
    assert leader.returncode == -signal.SIGKILL
