"""A run that was cut anywhere and resumed ends as the uncut one: the same weights, bit for bit, and logs."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t1mini import evaluate, rl
from t1mini.__main__ import main
from t1mini.runs import jsonl
from t1mini.runs.checkpoint import load_model, load_policy
from t1mini.runs.folder import RunFolder, Stopped, read_rows
from t1mini.runs.optimiser import Optimiser
from t1mini.runs.settings import UserError
from t1mini.runs.state import TrainingState, load_state, states
from t1mini.runs.team import Team

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "rl": ("rl --steps 5 --prompts 2 --k 3 --max-new-tokens 24 --state-every 2 --checkpoint-every 3 "
           "--eval-every 2 --eval-problems 3").split(),
    "sft": "sft --traces 130 --batch 5 --init data/tiny-sft --state-every 6".split(),
    "train": "train --traces 130 --steps 2 --problems 3 --samples 2".split(),
}
both_stages = pytest.mark.parametrize("uncut", ["rl", "sft"], indirect=True)


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """Commands are typed in the project's folder."""
    monkeypatch.chdir(ROOT)


class Killed(BaseException):
    """Nothing between a kill and the next start runs."""


class Disk:
    """Counts this process's waits for the disk and renames; from number `end` on, they raise `error`."""

    def __init__(self, monkeypatch, end: float = float("inf"), error: BaseException = Killed()):
        self.calls, self.end, self.error = 0, end, error
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, call):
        def counts(*arguments):
            self.calls += 1
            if self.calls >= self.end:
                raise self.error
            return call(*arguments)
        return counts


def begin(stage: str, run: Path, *words: str) -> int:
    return main([*COMMANDS[stage], "--threads", "1", "--out", str(run), *words])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return {"folder": tmp_path_factory.mktemp("uncut")}


@pytest.fixture
def uncut(request, runs, monkeypatch):
    """(stage, its uncut run, calls of the disk), made when it is first asked for."""
    stage = getattr(request, "param", "rl")
    if stage not in runs:
        with monkeypatch.context() as patch:
            disk, run = Disk(patch), runs["folder"] / stage
            assert begin(stage, run) == 0
            runs[stage] = stage, run, disk.calls
    return runs[stage]


def assert_same(run: Path, uncut: Path):
    for name in ("metrics.csv", "samples.txt", "final/model.safetensors", "eval.csv", "groups.jsonl", "thinking.jsonl"):
        assert (run / name).exists() == (uncut / name).exists()
        assert not (run / name).exists() or (run / name).read_bytes() == (uncut / name).read_bytes(), name
    found, expected = ([row["step"] for row in read_rows(folder / "timing.csv")] for folder in (run, uncut))
    assert found == expected


def at_update(monkeypatch, number: int, act, before: bool = False):
    """Calls `act` after (or before) the optimiser's step of update `number`."""
    step = Optimiser.step

    def patched(self, i, *rest, **named):
        if before and i + 1 == number:
            act()
        norm = step(self, i, *rest, **named)
        if not before and i + 1 == number:
            act()
        return norm

    monkeypatch.setattr(Optimiser, "step", patched)


def fail(error: BaseException):
    raise error


@both_stages
def test_killed_at_any_write_and_resumed(uncut, tmp_path, monkeypatch, pytestconfig):
    stage, whole, calls = uncut
    sample = [4, *random.Random(stage).sample(range(5, calls), 2)]  # the first is before there is any state
    for place in range(3, calls + 1) if pytestconfig.getoption("whole") else sample:
        run = tmp_path / str(place)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            Disk(patch, place)
            begin(stage, run)
        assert main([stage, "--resume", str(run)]) == 0, place
        assert_same(run, whole)
        shutil.rmtree(run)


KILL_9 = """
import os, random, sys, threading
calls, fsync = [], os.fsync
def counted(file):
    calls.append(file)
    if len(calls) == 2:  # config.json is there
        threading.Timer(random.random(), lambda: os.kill(os.getpid(), 9)).start()
    fsync(file)
os.fsync = counted
from t1mini.__main__ import main
main(sys.argv[1:])
"""


def test_kill_9_at_a_random_moment(uncut, tmp_path):
    run = tmp_path / "run"
    words = *COMMANDS["rl"], "--threads", "1", "--out", str(run)
    subprocess.run([sys.executable, "-c", KILL_9, *words], capture_output=True)
    assert (run / "config.json").exists()
    assert main(["rl", "--resume", str(run)]) == 0
    assert_same(run, uncut[1])


@pytest.mark.parametrize("uncut, number", [("rl", 2), ("sft", 15)], indirect=["uncut"])  # Ctrl-C, SIGTERM
def test_a_signal_saves_the_step_and_says_how_to_go_on(uncut, number, tmp_path, monkeypatch, capsys):
    stage, whole, _ = uncut
    run, before = tmp_path / "run", signal.getsignal(number)
    at_update(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    assert begin(stage, run) == 128 + number and signal.getsignal(number) == before
    printed = capsys.readouterr().err
    assert f"stopped after update 3; go on with python -m t1mini {stage} --resume {run}" in printed
    assert load_state(run)[0] == 3
    assert main([stage, "--resume", str(run)]) == 0
    assert_same(run, whole)


def test_a_damaged_state_is_passed_over(uncut, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(uncut[1], run)
    shutil.rmtree(run / "final")
    older, newest = states(run)
    data = bytearray((newest / "policy.safetensors").read_bytes())
    data[-9] ^= 1
    (newest / "policy.safetensors").write_bytes(data)
    assert load_state(run)[0] == int(older.name)
    assert main(["rl", "--resume", str(run), "--keep-last", "1"]) == 0
    assert f"{newest} is damaged; going on from update {int(older.name)}" in capsys.readouterr().err
    assert_same(run, uncut[1])
    assert [path.name for path in states(run)] == ["000004"]
    shutil.rmtree(run / "final")
    (run / "state/000004/manifest.json").unlink()
    assert main(["rl", "--resume", str(run)]) == 2
    assert "none of its states is whole" in capsys.readouterr().err


FULL_DISK = OSError(28, "No space left on device")


@pytest.mark.parametrize("setback, saved, message", [
    (lambda patch: fail(torch.OutOfMemoryError("no room")), 3, "out of memory: lower --micro-batch-tokens"),
    (lambda patch: Disk(patch, 0, FULL_DISK), 2, "No space left on device"),
], ids=["memory", "disk"])
def test_a_setback_says_up_to_where_nothing_is_lost(uncut, tmp_path, monkeypatch, capsys, setback, saved, message):
    """Out of memory in update 4, the weights are still those of the one before, and are saved; a full disk takes none."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        at_update(patch, 4, lambda: setback(patch), before=True)
        assert begin("rl", run) == 2
    printed = capsys.readouterr().err.splitlines()[-1]
    assert message in printed
    assert f"nothing is lost up to update {saved}: go on with python -m t1mini rl --resume {run}" in printed
    assert main(["rl", "--resume", str(run), "--micro-batch-tokens", "500", "--state-every", "1"]) == 0
    assert_same(run, uncut[1])


def events(run: Path, kind: str):
    rows = read_rows(run / "events.csv")
    return [(int(row["step"]), int(row["count"])) for row in rows if row["event"] == kind]


def test_a_state_that_cannot_be_looked_at_is_not_begun_again_and_a_copy_is_no_state(uncut, tmp_path, capsys):
    run = shutil.copytree(uncut[1], tmp_path / "run")
    shutil.rmtree(run / "final")
    shutil.copytree(states(run)[-1], run / "state/000004 2")
    assert [path.name for path in states(run)] == [path.name for path in states(uncut[1])]
    kept = (run / "metrics.csv").read_bytes()
    (run / "state").rename(tmp_path / "elsewhere")
    (run / "state").symlink_to(tmp_path / "not-mounted")
    assert main([uncut[0], "--resume", str(run)]) == 2
    assert "state" in capsys.readouterr().err and (run / "metrics.csv").read_bytes() == kept


def test_three_refused_in_a_row_stop_the_run_with_the_last_good_weights(tmp_path, monkeypatch, capsys):
    run, steps = tmp_path / "run", lambda: [int(row["step"]) for row in read_rows(run / "metrics.csv")]
    sum_gradients, calls = Team.sum_gradients, []

    def spoiled(self, model):
        sum_gradients(self, model)
        calls.append(model)
        if len(calls) in (2, 4, 5, 6, 7):
            next(model.parameters()).grad[0, 0] = torch.nan

    monkeypatch.setattr(Team, "sum_gradients", spoiled)
    assert begin("rl", run, "--steps", "8") == 2
    first, *_, last = [line for line in capsys.readouterr().err.splitlines() if "applied" in line]
    assert "update 2 was not applied: its gradient is not finite" in first
    assert last.startswith("t1mini: 3 updates in a row were not applied") and f"--resume {run}" in last
    assert steps() == [1, 3] and events(run, "refused") == [(2, 1), (4, 2), (5, 3), (6, 4)]
    batch = jsonl.read_rows(run / "refused/update-000004-rank-0.jsonl")
    assert len(batch) == 6 and batch[0]["prompt"].startswith("make")
    step, tensors = load_state(run)
    good = load_model(run / "step-0003").state_dict()
    assert step == 5 and all(torch.equal(tensors["policy"][name], good[name]) for name in good)
    assert main(["rl", "--resume", str(run)]) == 2  # the third is tried again, and still not finite
    assert "3 updates in a row" in capsys.readouterr().err
    assert main(["rl", "--resume", str(run)]) == 0  # what ailed it is gone
    assert steps() == [1, 3, 6, 7, 8] and events(run, "refused") == [(2, 1), (4, 2), (5, 3)]


@pytest.fixture
def state(uncut):
    """What a rank that does not lead resumes from the uncut run."""
    config = dataclasses.replace(rl.RLConfig(), resume=str(uncut[1]))
    policy, _ = load_policy("data/tiny-sft")
    optimiser = Optimiser(policy, Team(), lr=1.0, steps=9, warmup=0, clip=1.0, weight_decay=0.0)
    return TrainingState(config, None, Team(), optimiser, policy=policy)


def test_a_rank_without_a_folder_takes_up_the_same_state_and_removes_nothing(uncut, state):
    before = load_state(uncut[1])[1]
    assert state.step == 4 and list(state.updates(6, "")) == [4, 5]
    policy = state.models["policy"].state_dict()
    assert all(torch.equal(policy[name], tensor) for name, tensor in before["policy"].items())
    assert len(read_rows(uncut[1] / "metrics.csv")) == 5


def test_what_is_not_finite_is_text_in_the_batch_and_an_event_is_said_once(state, tmp_path, capsys):
    with RunFolder(rl.RLConfig(out=str(tmp_path / "run")), "rl") as state.folder:
        state.refuse(2, "reward", [{"reward": float("nan"), "kl": 1.5}])
        state.note(3, "all tied", "raise --k")
        state.note(5, "all tied", "raise --k")
    batch = jsonl.read_rows(tmp_path / "run/refused/update-000002-rank-0.jsonl")
    assert batch == [{"reward": "NaN", "kl": 1.5}]
    assert events(tmp_path / "run", "all tied") == [(3, 1), (5, 2)]
    printed = capsys.readouterr().err
    assert printed.count("raise --k") == 1 and "t1mini: update 3: raise --k (all such updates: " in printed


def test_a_whole_train_goes_on_from_anywhere(tmp_path, monkeypatch, capsys):
    train = rl.train
    small = lambda config: dataclasses.replace(config, prompts=2, k=2, max_new_tokens=20)
    monkeypatch.setattr(rl, "train", lambda *given: train(*given[:3], small(given[3]), *given[4:]))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert begin("train", whole) == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_update(patch, 2, lambda: (run / "rl").exists() and fail(Killed()))
        begin("train", run)
    assert (run / "rl/step-0001").exists() and not (run / "rl/final").exists()
    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "summarise", lambda *_: fail(Stopped(signal.SIGTERM, "stopped")))
        assert main(["train", "--resume", str(run)]) == 143
    assert f"stopped; go on with python -m t1mini train --resume {run}" in capsys.readouterr().err
    assert main(["train", "--resume", str(run)]) == 0
    for part in ("sft", "rl"):
        assert_same(run / part, whole / part)
    for name in ("evaluation.json", "budget_curve.csv", "report.txt"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_two_ranks_killed_and_resumed(tmp_path, monkeypatch, pytestconfig):
    if not pytestconfig.getoption("whole"):
        pytest.skip("starts six processes: --whole")
    two = "--threads", "2", "--workers", "2"
    assert begin("rl", tmp_path / "whole", *two) == 0
    with monkeypatch.context() as patch, pytest.raises(Killed):
        at_update(patch, 4, lambda: fail(Killed()))
        begin("rl", tmp_path / "run", *two)
    assert main(["rl", "--resume", str(tmp_path / "run")]) == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("stage, words", [("rl", "--steps 2 --prompts 2 --k 2 --max-new-tokens 4"), ("sft", "--batch 2 --epochs 2")])
def test_a_run_goes_on_only_with_the_data_and_the_checkpoint_it_was_begun_with(stage, words, tmp_path, monkeypatch, capsys):
    init, data, run = tmp_path / "init", tmp_path / "p.jsonl", tmp_path / "run"
    shutil.copytree(ROOT / "tests/golden/qwen2-tiny", init)
    (init / "generation_config.json").write_text('{"eos_token_id": 5}')
    rows = [f'{{"question": "{i} + 1?", "answer": "{i + 1}", "response": "{i + 1}"}}\n' for i in range(6)]
    data.write_text("".join(rows))
    command = [stage, "--task", "math", "--init", str(init), "--data", str(data), "--threads", "1", "--out", str(run), *words.split()]
    with monkeypatch.context() as patch:
        at_update(patch, 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert main(command) == 130
    begun = (run / "config.json").read_bytes()
    (init / "generation_config.json").rename(tmp_path / "gone")
    assert main([stage, "--resume", str(run)]) == 2 and "generation_config.json" in capsys.readouterr().err
    (tmp_path / "gone").rename(init / "generation_config.json")
    for file, others in ((data, "".join(rows[::-1]).encode()), (init / "model.safetensors", None), (init / "tokenizer_config.json", None)):
        kept = file.read_bytes()
        file.unlink()
        file.write_bytes(others or kept.replace(b"\n}", b"\n }") if file.suffix == ".json" else others or kept[:-4] + bytes(4))
        assert main([stage, "--resume", str(run)]) == 2
        assert f"{file.name} is not what {run} was begun with" in capsys.readouterr().err
        assert (run / "config.json").read_bytes() == begun
        file.write_bytes(kept)
    (init / "README.md").write_text("not read")
    assert main([stage, "--resume", str(run)]) == 0
