"""A run that was cut anywhere and resumed ends as the uncut one: the same weights, bit for bit, and the same metrics."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from t1mini import evaluate
from t1mini import rl
from t1mini.__main__ import main
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.state import load_state, save_state, states

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "rl": ["rl", "--steps", "7", "--prompts", "3", "--k", "4", "--max-new-tokens", "30", "--state-every", "2", "--checkpoint-every", "3"],
    "sft": ["sft", "--traces", "330", "--batch", "7", "--init", "data/tiny-sft", "--state-every", "6"],
}


@pytest.fixture(autouse=True, scope="module")
def at_home():
    """Commands are typed in the project's folder."""
    before = Path.cwd()
    os.chdir(ROOT)
    yield
    os.chdir(before)


@pytest.fixture(scope="module", params=COMMANDS)
def whole(request, tmp_path_factory):
    """(stage, its uncut run)"""
    run = tmp_path_factory.mktemp("whole") / request.param
    assert main([*COMMANDS[request.param], "--threads", "1", "--out", str(run)]) == 0
    return request.param, run


def assert_same(run: Path, whole: Path):
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (run / "samples.txt").exists() == (whole / "samples.txt").exists()
    if (whole / "samples.txt").exists():
        assert (run / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()
    found, expected = (load_file(folder / "final/model.safetensors") for folder in (run, whole))
    assert all(torch.equal(found[name], expected[name]) for name in expected) and found.keys() == expected.keys()


def at_update(monkeypatch, number: int, act, before: bool = False, where: str = "", run: Path = Path()):
    """Calls `act` after (or before) the optimiser's step of update `number`, in this process, once; `where`: not before `run` has this part."""
    step = Optimiser.step

    def patched(self, i):
        now = i + 1 == number and not done and (run / where).exists()
        done.extend([i] if now else [])
        if now and before:
            act()
        step(self, i)
        if now and not before:
            act()

    done = []
    monkeypatch.setattr(Optimiser, "step", patched)


class Killed(BaseException):
    """Nothing between a kill and the next start runs."""


def kill():
    raise Killed


@pytest.mark.parametrize("number", [3, 6, 7])
def test_killed_and_resumed(whole, tmp_path, monkeypatch, number):
    stage, uncut = whole
    run = tmp_path / "run"
    at_update(monkeypatch, 5 * number if stage == "sft" else number, kill)
    with pytest.raises(Killed):
        main([*COMMANDS[stage], "--threads", "1", "--out", str(run)])
    assert not (run / "final").exists()
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_and_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys, number, code):
    stage, uncut = whole
    run = tmp_path / "run"
    at_update(monkeypatch, 5, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert main([*COMMANDS[stage], "--threads", "1", "--out", str(run)]) == code
    assert signal.getsignal(number) == before
    assert f"stopped after update 5; go on with python -m t1mini {stage} --resume {run}" in capsys.readouterr().err
    assert load_state(run)[0] == 5
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


def test_a_damaged_state_is_passed_over(whole, tmp_path, capsys):
    stage, uncut = whole
    run = tmp_path / "run"
    shutil.copytree(uncut, run)
    shutil.rmtree(run / "final")
    newest, older = sorted((run / "state").iterdir(), reverse=True)
    data = bytearray((newest / "policy.safetensors").read_bytes())
    data[-9] ^= 1
    (newest / "policy.safetensors").write_bytes(data)
    assert load_state(run)[0] == int(older.name)
    assert "policy.safetensors is damaged" in capsys.readouterr().err
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


@pytest.mark.parametrize("words, message", [
    (["--resume", "nowhere"], "cannot go on with nowhere"),
    (["--resume", "{run}", "--threads", "7"], "--threads 7: {run} was begun with"),
    (["--resume", "{run}", "--lr", "0.5"], "--lr 0.5: {run} was begun with"),
    (["--resume", "{run}", "--out", "elsewhere"], "--out elsewhere: a run that is resumed goes on where it is"),
])
def test_what_cannot_be_resumed_is_one_line(whole, capsys, words, message):
    stage, run = whole
    before = sorted(run.rglob("*"))
    assert main([stage, *(word.format(run=run) for word in words)]) == 2
    printed = capsys.readouterr().err
    assert message.format(run=run) in printed and printed.count("\n") == 1
    assert sorted(run.rglob("*")) == before


def test_what_decides_memory_and_what_is_kept_may_change(whole, tmp_path):
    stage, uncut = whole
    run = tmp_path / "run"
    shutil.copytree(uncut, run)
    assert main([stage, "--resume", str(run), "--micro-batch-tokens", "500", "--keep-last", "1", "--state-every", "1"]) == 0
    assert json.loads((run / "config.json").read_text())["micro_batch_tokens"] == 500
    assert_same(run, uncut)  # the few updates after its last state come again, the same but for the last digits


def test_a_run_killed_before_its_first_state_begins_again(whole, tmp_path, monkeypatch):
    stage, uncut = whole
    run = tmp_path / "run"
    at_update(monkeypatch, 1, kill)
    with pytest.raises(Killed):
        main([*COMMANDS[stage], "--threads", "1", "--out", str(run)])
    assert load_state(run) == (0, {})
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


def test_a_setback_saves_what_was_learned_and_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys):
    """Out of memory in an update after the last state: the weights are those of the update before, so they are saved."""
    stage, uncut = whole
    run = tmp_path / "run"

    def give_out():
        raise torch.OutOfMemoryError("no room")

    at_update(monkeypatch, 5, give_out, before=True)
    assert main([*COMMANDS[stage], "--threads", "1", "--out", str(run)]) == 2
    printed = capsys.readouterr().err
    assert "cpu is out of memory: lower --micro-batch-tokens" in printed
    assert f"nothing is lost up to update 4: go on with python -m t1mini {stage} --resume {run}" in printed
    assert load_state(run)[0] == 4
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


def test_a_full_disk_leaves_the_state_before_and_says_so(whole, tmp_path, monkeypatch, capsys):
    stage, uncut = whole
    run = tmp_path / "run"

    def no_room():
        def full(*_):
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(os, "fsync", full)

    last = 13 if stage == "sft" else 5
    at_update(monkeypatch, last, no_room)
    assert main([*COMMANDS[stage], "--threads", "1", "--out", str(run)]) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    saved = 12 if stage == "sft" else 4
    assert "No space left on device" in printed and f"nothing is lost up to update {saved}: go on with" in printed
    monkeypatch.undo()
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


def test_only_the_last_states_are_kept(tmp_path):
    for step in range(1, 6):
        save_state(tmp_path, step, {"policy": {"w": torch.ones(1)}}, keep=3)
    assert [path.name for path in states(tmp_path)] == ["000003", "000004", "000005"]


def test_a_write_that_fails_leaves_the_state_before(tmp_path, monkeypatch):
    tensors = {"policy": {"w": torch.arange(4.0)}}
    save_state(tmp_path, 1, tensors)
    for call in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            def full(*_):
                raise OSError(28, "No space left on device")
            patch.setattr(os, call, full)
            with pytest.raises(OSError):
                save_state(tmp_path, 2, tensors)
        assert load_state(tmp_path)[0] == 1
    save_state(tmp_path, 2, tensors)
    assert load_state(tmp_path)[0] == 2


TRAIN = ["train", "--traces", "330", "--steps", "2", "--problems", "4", "--samples", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def whole_train(tmp_path_factory):
    run = tmp_path_factory.mktemp("train") / "whole"
    assert main([*TRAIN, "--out", str(run)]) == 0
    return run


def assert_same_train(run: Path, whole: Path):
    for name in ("sft/metrics.csv", "rl/metrics.csv", "rl/samples.txt", "sft/final/model.safetensors", "rl/step-0001/model.safetensors",
                 "rl/final/model.safetensors", "evaluation.json", "budget_curve.csv", "report.txt"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    found, expected = (json.loads((folder / "summary.json").read_text()) | {"seconds": None} for folder in (run, whole))
    assert found == expected


@pytest.mark.parametrize("moment", ["sft", "between", "rl"])
def test_a_whole_train_goes_on_from_anywhere(whole_train, tmp_path, monkeypatch, moment):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        if moment == "between":
            patch.setattr(rl, "train", lambda *_: kill())
        else:
            at_update(patch, 5 if moment == "sft" else 2, kill, where=moment, run=run)
        with pytest.raises(Killed):
            main([*TRAIN, "--out", str(run)])
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_train(run, whole_train)


def test_a_train_stopped_in_its_evaluation_goes_on_with_it(whole_train, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole_train, run)
    for name in ("evaluation.json", "budget_curve.csv", "report.txt", "summary.json"):
        (run / name).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "summarise", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert main(["train", "--resume", str(run)]) == 143
    assert f"stopped; go on with python -m t1mini train --resume {run}" in capsys.readouterr().err
    assert main(["train", "--resume", str(run)]) == 0
    assert_same_train(run, whole_train)


def test_two_ranks_killed_at_a_random_moment(tmp_path):
    command = [sys.executable, "-m", "t1mini", *COMMANDS["rl"], "--threads", "2", "--workers", "2"]
    assert subprocess.run([*command, "--out", str(tmp_path / "whole")], cwd=ROOT, capture_output=True).returncode == 0
    run, rng = tmp_path / "run", random.Random(0)
    process = subprocess.Popen([*command, "--out", str(run)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (run / "state").exists():
        time.sleep(0.01)
    time.sleep(rng.random() / 2)
    process.kill()
    process.wait()
    finished = subprocess.run([sys.executable, "-m", "t1mini", "rl", "--resume", str(run)], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert_same(run, tmp_path / "whole")
