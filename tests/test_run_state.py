"""A run that was cut anywhere and resumed ends as the uncut one: the same weights, bit for bit, and the same metrics."""

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

from t1mini.__main__ import main
from t1mini.config import UserError
from t1mini.optimiser import Optimiser
from t1mini.run_state import load_state, save_state

ROOT = Path(__file__).parent.parent
COMMANDS = {
    "rl": ["rl", "--steps", "7", "--prompts", "3", "--k", "4", "--max-new-tokens", "30", "--state-every", "2", "--checkpoint-every", "3"],
    "sft": ["sft", "--traces", "330", "--batch", "7", "--init", "data/tiny-sft", "--state-every", "6"],
}


@pytest.fixture(scope="module", params=COMMANDS)
def whole(request, tmp_path_factory):
    """(stage, its uncut run)"""
    run = tmp_path_factory.mktemp("whole") / request.param
    assert main([*COMMANDS[request.param], "--workers", "1", "--out", str(run)]) == 0
    return request.param, run


def assert_same(run: Path, whole: Path):
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (run / "samples.txt").exists() == (whole / "samples.txt").exists()
    if (whole / "samples.txt").exists():
        assert (run / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()
    found, expected = (load_file(folder / "final/model.safetensors") for folder in (run, whole))
    assert all(torch.equal(found[name], expected[name]) for name in expected) and found.keys() == expected.keys()


def at_update(monkeypatch, number: int, act):
    """Calls `act` after the optimiser's step of update `number`, in this process, once."""
    step = Optimiser.step

    def patched(self, i):
        norm = step(self, i)
        if i + 1 == number and not done:
            done.append(i)
            act()
        return norm

    done = []
    monkeypatch.setattr(Optimiser, "step", patched)


class Killed(BaseException):
    """Nothing between a kill and the next start runs."""


@pytest.mark.parametrize("number", [3, 6, 7])
def test_killed_and_resumed(whole, tmp_path, monkeypatch, number):
    stage, uncut = whole
    run = tmp_path / "run"

    def kill():
        raise Killed

    at_update(monkeypatch, 5 * number if stage == "sft" else number, kill)
    with pytest.raises(Killed):
        main([*COMMANDS[stage], "--workers", "1", "--out", str(run)])
    assert not (run / "final").exists()
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, uncut)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_and_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys, number, code):
    stage, uncut = whole
    run = tmp_path / "run"
    at_update(monkeypatch, 5, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert main([*COMMANDS[stage], "--workers", "1", "--out", str(run)]) == code
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


@pytest.mark.parametrize("words, message", [(["--resume", "nowhere"], "cannot go on with nowhere"), (["--resume", "{run}", "--threads", "7"], "--threads 7")])
def test_what_cannot_be_resumed_is_one_line(whole, capsys, words, message):
    stage, run = whole
    assert main([stage, *(word.format(run=run) for word in words)]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1


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
    with pytest.raises(UserError, match="no state"):
        load_state(tmp_path / "other")


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
    while not any((run / "state").glob("*/state.json")):  # killed while it wrote the first
        pytest.skip("killed before the first state")
    finished = subprocess.run([sys.executable, "-m", "t1mini", "rl", "--resume", str(run)], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert_same(run, tmp_path / "whole")
