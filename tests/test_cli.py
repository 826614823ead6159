"""The command line: every stage runs, and what `train` leaves is what it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from t1mini.__main__ import STAGES, main

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """As the README has it: commands are typed in the project's folder."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole pipeline, much shortened: random guesses at the end, but every stage and every file."""
    out = tmp_path_factory.mktemp("train") / "run"
    command = ["-m", "t1mini", "train", "--traces", "96", "--steps", "2", "--problems", "6", "--samples", "2", "--out", str(out)]
    return out, subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)


def test_train_leaves_a_whole_run_folder(run):
    out, finished = run
    assert finished.returncode == 0, finished.stderr
    for name in ("config.json", "evaluation.json", "report.txt", "budget_curve.csv", "data/test.jsonl", "sft/metrics.csv", "sft/final/model.safetensors",
                 "rl/metrics.csv", "rl/timing.csv", "rl/samples.txt", "rl/step-0001/config.json", "rl/final/tokenizer.json"):
        assert (out / name).is_file(), name


def test_the_summary_has_its_promised_keys(run):
    summary = json.loads((run[0] / "summary.json").read_text())
    assert set(summary) == {"seed", "preset", "seconds", "sft", "rl", "budget_curve", "logprob_gap_max", "made_by"}
    assert set(summary["seconds"]) == {"sft", "rl", "evaluate", "total"}
    for name in ("sft", "rl"):
        assert set(summary[name]) == {"pass@1", "interval", "problems", "samples"}
        assert summary[name]["problems"] == 6 and summary[name]["samples"] == 2
    curve = summary["budget_curve"]
    assert len(curve["budgets"]) == len(curve["sft"]) == len(curve["half"]) == len(curve["rl"])
    assert 0 <= summary["logprob_gap_max"] < 1e-3
    for name in ("summary.json", "evaluation.json", "config.json", "sft/config.json", "rl/config.json"):
        made_by = json.loads((run[0] / name).read_text())["made_by"]
        assert set(made_by) == {"t1mini", "commit", "python", "torch", "device"} and made_by["torch"] and made_by["device"]


def test_each_stage_runs_by_itself_on_what_train_left(run, tmp_path, capsys):
    start = str(run[0] / "sft/final")
    assert main(["evaluate", "--init", start, "--problems", "3", "--samples", "2", "--out", str(tmp_path / "e")]) == 0
    assert main(["scale", "--init", start, start, "--problems", "3", "--budgets", "5", "20", "--out", str(tmp_path / "s")]) == 0
    assert main(["rl", "--init", start, "--steps", "1", "--prompts", "2", "--k", "2", "--max-new-tokens", "9", "--out", str(tmp_path / "r")]) == 0
    assert main(["sft", "--init", start, "--traces", "20", "--out", str(tmp_path / "f")]) == 0
    assert main(["data", "--out", str(tmp_path / "d"), "--show", "2"]) == 0
    assert (tmp_path / "d/test.jsonl").read_text() == (ROOT / "data/test.jsonl").read_text()
    assert "pass@1" in capsys.readouterr().out


def test_sample_reads_problems_from_a_file_and_from_the_keyboard(tmp_path, monkeypatch, capsys):
    (tmp_path / "problems.txt").write_text("3 4 11 77\n\n2, 5, 6, 60\n")
    assert main(["sample", "--file", str(tmp_path / "problems.txt"), "--samples", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("make 77 from 3 4 11") == 1 and printed.count("answer") == 4
    typed = iter(["3 4 x 77", "3 4 11 77", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    assert main(["sample"]) == 0
    printed = capsys.readouterr().out
    assert "got '3 4 x 77'" in printed and printed.count("answer") == 1


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_its_flags(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        main([stage, "--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(flag in printed for flag in ("--preset", "--out", "--seed", "--device", "--threads"))
