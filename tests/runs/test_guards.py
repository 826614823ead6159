"""A batch that is not finite costs one update and is there to look at; three in a row stop the run; signs of ill health are said once."""

import csv
import json
import math
import os
from pathlib import Path

import pytest
import torch

from t1mini import rl
from t1mini import sft
from t1mini import update
from t1mini.__main__ import main
from t1mini.runs.checkpoint import load_model
from t1mini.runs.settings import UserError
from t1mini.runs.team import Team
from t1mini.runs.guards import Guard
from t1mini.runs.folder import RunFolder
from t1mini.rl import RLConfig
from t1mini.runs.state import load_state

ROOT = Path(__file__).parents[2]
RL = ["rl", "--prompts", "2", "--k", "3", "--max-new-tokens", "30", "--threads", "1"]


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def events(run):
    return [(int(row["step"]), row["event"], int(row["count"])) for row in csv.DictReader((run / "events.csv").open())]


def steps(run):
    return [int(row["step"]) for row in csv.DictReader((run / "metrics.csv").open())]


def spoil_rewards(monkeypatch, updates, value=math.nan):
    """The rewards of these updates hold one that is not finite."""
    rewards_of, calls = rl.rewards_of, []

    def spoiled(verdicts, config):
        calls.append(1)
        rewards = rewards_of(verdicts, config)
        if len(calls) in updates:
            rewards[1, 0] = value
        return rewards

    monkeypatch.setattr(rl, "rewards_of", spoiled)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_update_that_is_not_finite_is_not_applied_and_its_batch_is_kept(tmp_path, monkeypatch, capsys, value):
    run = tmp_path / "run"
    spoil_rewards(monkeypatch, {3}, value)
    assert main([*RL, "--steps", "3", "--out", str(run), "--checkpoint-every", "2"]) == 0
    assert "update 3 was not applied: its reward is not finite" in capsys.readouterr().err
    assert steps(run) == [1, 2] and (3, "refused", 1) in events(run)
    before, after = load_model(run / "step-0002"), load_model(run / "final")
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters()))
    rows = [json.loads(line) for line in (run / "refused/update-000003-rank-0.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and rows[3]["reward"] == str(value) and rows[0]["prompt"].startswith("make")


def test_three_in_a_row_stop_the_run_with_the_last_good_weights(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    spoil_rewards(monkeypatch, {2, 4, 5, 6})
    assert main([*RL, "--steps", "8", "--out", str(run), "--checkpoint-every", "3"]) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert printed.startswith("t1mini: 3 updates in a row were not applied") and f"--resume {run}" in printed
    assert steps(run) == [1, 3] and [event for event in events(run) if event[1] == "refused"] == [(s, "refused", i) for i, s in enumerate((2, 4, 5, 6), 1)]
    step, tensors = load_state(run)
    good = load_model(run / "step-0003").state_dict()
    assert step == 5 and all(torch.equal(tensors["policy"][name], good[name]) for name in good)
    assert main(["rl", "--resume", str(run)]) == 0  # what ails it is gone: the sixth update is tried again
    assert steps(run) == [1, 3, 6, 7, 8]


def test_a_run_that_is_resumed_remembers_how_many_were_refused(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    spoil_rewards(monkeypatch, {2, 3, 4})
    calls = []
    dump = Guard.refuse
    monkeypatch.setattr(Guard, "refuse", lambda *a: (calls.append(1), len(calls) == 2 and os.kill(os.getpid(), 15), dump(*a)))
    assert main([*RL, "--steps", "8", "--out", str(run)]) == 143
    assert main(["rl", "--resume", str(run)]) == 2
    assert "3 updates in a row were not applied" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["logprobs", "entropy"])
def test_a_gradient_or_log_probability_that_is_not_finite_is_refused_too(tmp_path, monkeypatch, where):
    run = tmp_path / "run"
    score_rows, calls = update.score_rows, []

    def spoiled(*arguments):
        logprobs, entropy, mask = score_rows(*arguments)
        calls.append(torch.is_grad_enabled())
        if calls.count(True) == 1 and calls[-1]:
            (logprobs if where == "logprobs" else entropy).data[0, 0] = math.nan
        return logprobs, entropy, mask

    monkeypatch.setattr(update, "score_rows", spoiled)
    assert main([*RL, "--steps", "2", "--out", str(run)]) == 0
    assert steps(run) == [2] and events(run)[0] == (1, "refused", 1)


def test_sft_refuses_as_well(tmp_path, monkeypatch):
    run = tmp_path / "run"
    loss, calls = sft.sft_loss, []
    monkeypatch.setattr(sft, "sft_loss", lambda *a, **k: (calls.append(1), loss(*a, **k) * (math.inf if len(calls) == 2 else 1))[1])
    words = ["sft", "--init", "data/tiny-sft", "--traces", "48", "--batch", "8", "--threads", "1", "--micro-batch-tokens", "9999"]
    assert main([*words, "--out", str(run)]) == 0
    assert events(run) == [(2, "refused", 1)] and len((run / "refused/update-000002-rank-0.jsonl").read_text().splitlines()) == 8
    assert math.isfinite(float(next(csv.DictReader((run / "metrics.csv").open()))["loss"]))


HEALTHY = {"tied_groups": 0.5, "reward": 0.1, "entropy": 0.4, "skipped_rows": 0.0}


@pytest.mark.parametrize("change, event, advice", [
    ({"tied_groups": 1.0}, "all tied", "raise --k"),
    ({"reward": -1.0}, "all penalised", "raise --max-new-tokens"),
    ({"entropy": 0.01}, "entropy collapse", "raise --entropy-coef"),
])
def test_a_sign_is_counted_each_time_and_said_once(tmp_path, capsys, change, event, advice):
    with RunFolder(tmp_path / "run", RLConfig()) as folder:
        guard = Guard(folder, Team())
        for step, row in enumerate([HEALTHY, HEALTHY | change, HEALTHY, HEALTHY | change], 1):
            guard.watch(step, row)
        assert events(tmp_path / "run") == [(2, event, 1), (4, event, 2)]
        assert Guard(folder, Team()).counts == {event: 2}  # a run that goes on goes on counting
    printed = capsys.readouterr().err
    assert printed.count("t1mini: update 2") == 1 and advice in printed and "update 4" not in printed


def test_without_an_entropy_there_is_no_collapse():
    guard = Guard(None, Team())
    guard.watch(1, HEALTHY | {"entropy": 0.0, "skipped_rows": 1.0})
    assert not guard.counts


def test_three_in_a_row_is_counted_afresh_after_a_good_one():
    guard = Guard(None, Team())
    for value in (math.nan, math.nan, 1.0, math.inf, -math.inf):
        name = guard.refuses({"reward": torch.tensor([1.0, value]), "loss": 0.0})
        assert name == ("" if value == 1.0 else "reward")
        if name:
            guard.refuse(1, name, [])
    assert guard.refuses({"reward": 1.0, "loss": math.nan, "gradient": math.nan}) == "loss"
    with pytest.raises(UserError, match="3 updates in a row"):
        guard.refuse(1, "loss", [])
