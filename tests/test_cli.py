"""The command line: every stage runs, and what `train` leaves is what it promises."""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from t1mini.__main__ import STAGES, main, read
from t1mini.lab import plot, train
from t1mini.runs.settings import PRESETS

ROOT = Path(__file__).parent.parent
FILES = """budget_curve.csv data/test.jsonl evaluation.json report.txt rl/final/tokenizer.json rl/metrics.csv
    rl/samples.txt rl/step-0001/config.json rl/timing.csv sft/final/model.safetensors sft/metrics.csv"""


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole pipeline, much shortened: random guesses at the end, but every stage and every file."""
    out = tmp_path_factory.mktemp("train") / "run"
    sizes = "--traces 96 --steps 2 --problems 6 --samples 2 --workers 1 --threads 1"
    small = functools.partial(train.stage_config, prompts=2, k=4)
    with contextlib.chdir(ROOT), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "stage_config", small)
        assert main(["train", *sizes.split(), "--out", str(out)]) == 0
    return out


def test_train_leaves_what_it_promises(run):
    for name in FILES.split():
        assert (run / name).is_file(), name
    for name in ("summary.json", "evaluation.json", "config.json", "sft/config.json", "rl/config.json"):
        made_by = json.loads((run / name).read_text())["made_by"]
        assert set(made_by) == {"t1mini", "commit", "python", "torch", "device"} and made_by["torch"]
    summary = json.loads((run / "summary.json").read_text())
    keys = {"seed", "preset", "seconds", "sft", "half", "rl", "budget_curve", "logprob_gap_max", "made_by"}
    assert set(summary) == keys and set(summary["seconds"]) == {"sft", "rl", "evaluate", "total"}
    for name in ("sft", "rl"):
        assert {"pass@1", "interval", "problems", "samples"} <= set(summary[name])
    curve = summary["budget_curve"]
    assert len(curve["budgets"]) == len(curve["sft"]) == len(curve["half"]) == len(curve["rl"])
    assert 0 <= summary["logprob_gap_max"] < 1e-3


@pytest.mark.parametrize("command", [
    "evaluate --init {sft} --problems 3 --samples 2",
    "scale --init {sft} {sft} --problems 3 --samples 2 --budgets 5 20",
    "rl --init {sft} --steps 1 --prompts 2 --k 2 --max-new-tokens 9 --workers 1",
    "sft --init {sft} --traces 20 --workers 1",
    "data --show 2",
])
def test_each_stage_runs_by_itself_on_what_train_left(run, command, tmp_path, capsys):
    words = command.format(sft=run / "sft/final").split()
    assert main([*words, "--threads", "1", "--out", str(tmp_path / "out")]) == 0
    assert any((tmp_path / "out").iterdir())
    printed = capsys.readouterr()
    assert words[0] != "evaluate" or "pass@1" in printed.out
    assert words[0] == "data" or f"{tmp_path / 'out'}/" in printed.out  # it says where it wrote
    assert "%|" not in printed.err and "it/s" not in printed.err  # no bar where no terminal is
    if words[0] == "data":
        assert (tmp_path / "out/test.jsonl").read_text() == (ROOT / "data/test.jsonl").read_text()


def test_a_finished_run_is_left_as_it_is(run, capsys):
    files = lambda: sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    before = files()
    for stage, part, end in (("train", "", "report.txt"), ("sft", "sft", "final"), ("rl", "rl", "final")):
        assert main([stage, "--resume", str(run / part)]) == 0
        assert capsys.readouterr().out == f"{run / part} is finished, nothing is left to do: see {run / part / end}\n"
    assert files() == before


def test_sample_reads_problems_from_a_file_and_from_the_keyboard(tmp_path, monkeypatch, capsys):
    (tmp_path / "problems.txt").write_text("3 4 11 77\n\n2, 5, 6, 60\n")
    assert main([*"sample --threads 1 --samples 2 --file".split(), str(tmp_path / "problems.txt")]) == 0
    printed = capsys.readouterr().out
    assert printed.count("make 77 from 3 4 11") == 1 and printed.count("answer") == 4
    typed = iter(["3 4 x 77", "3 4 11 77", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    assert main(["sample", "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "got '3 4 x 77'" in printed and printed.count("answer") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_its_flags(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        main([stage, "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(flag in printed for flag in ("--preset", "--out", "--seed", "--device", "--threads"))
    for f in dataclasses.fields(read([stage])):
        assert set(f.metadata["values"]) <= {"default", "qwen", "smollm", *PRESETS}


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_stage_with_128_and_its_number(number, code, monkeypatch, capsys):
    monkeypatch.setattr(plot, "run", lambda config: os.kill(os.getpid(), number))
    assert main(["plot"]) == code and capsys.readouterr().err == "t1mini: stopped\n"


@pytest.mark.parametrize("error, code, says", [
    (torch.OutOfMemoryError("CUDA out of memory."), 2, "out of memory: lower --micro"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "out of memory: lower"),
    (MemoryError(), 2, "out of memory: lower --micro-batch-tokens"),
    (OSError(28, "No space left on device"), 2, "No space left on device; is there room"),
    (ValueError("\x1b[2J\nno error of the user's"), None, ""),
    (KeyboardInterrupt(), 130, "stopped"),
])
def test_what_ends_a_stage_is_one_line_and_a_code(error, code, says, monkeypatch, capsys):
    def run(config):
        raise error

    monkeypatch.setattr("t1mini.evaluate.run", run)
    if code is None:
        with pytest.raises(ValueError):
            main(["evaluate"])
    else:
        assert main(["evaluate"]) == code
    printed = capsys.readouterr().err
    assert says in printed and printed.count("\n") == bool(says)


@pytest.mark.parametrize("words", ["rl --help", "study", "plot start --text", "memory --threads 1"])
def test_a_closed_pipe_is_no_traceback(words):
    stage = subprocess.Popen([sys.executable, "-m", "t1mini", *words.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.stdout.close()
    assert stage.stderr.read() == b"" and stage.wait() in (0, 1)


def test_no_clipping_of_ratios_is_promised_beside_the_flag_that_clips_the_gradient(capsys):
    with pytest.raises(SystemExit):
        main(["rl", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "ratio clipping" not in printed and "--clip is about the gradient's norm" in printed
    assert "--clip CLIP largest norm of the gradient, scaled down to it" in printed


def test_a_reader_that_leaves_ends_the_stage_without_a_word():
    code = "import t1mini.lab.data as data; data.run = lambda config: print('x' * 10**6); "
    code += "from t1mini.__main__ import main; raise SystemExit(main(['data']))"
    stage = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.stdout.read(10)
    stage.stdout.close()
    assert stage.stderr.read() == b"" and stage.wait() == 1


def test_without_an_output_there_is_no_traceback(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as after >&-
    assert main(["data", "--files"]) == 2
