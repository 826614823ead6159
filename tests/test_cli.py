"""The command line: every stage runs, and a user's mistake is one clear line with exit code 2 that writes nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from t1mini.__main__ import STAGES, main

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests/golden/qwen2-tiny"


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
    assert set(summary) == {"seed", "preset", "seconds", "sft", "rl", "budget_curve", "logprob_gap_max"}
    assert set(summary["seconds"]) == {"sft", "rl", "evaluate", "total"}
    for name in ("sft", "rl"):
        assert set(summary[name]) == {"pass@1", "interval", "problems", "samples"}
        assert summary[name]["problems"] == 6 and summary[name]["samples"] == 2
    curve = summary["budget_curve"]
    assert len(curve["budgets"]) == len(curve["sft"]) == len(curve["half"]) == len(curve["rl"])
    assert 0 <= summary["logprob_gap_max"] < 1e-3


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


MISTAKES = {
    "no stage": ([], "STAGE"),
    "an unknown stage": (["reinforce"], "invalid choice: 'reinforce'"),
    "an unknown flag": (["rl", "--kk", "4"], "unrecognized arguments: --kk 4; see python -m t1mini rl --help"),
    "an abbreviated flag": (["rl", "--step", "4"], "unrecognized arguments: --step 4"),
    "an unknown preset": (["train", "--preset", "huge"], "--preset huge: choose one of tiny, gpu"),
    "not a number": (["rl", "--k", "many"], "argument --k: invalid int value: 'many'"),
    "one response a prompt": (["rl", "--k", "1"], "--k 1: must be at least 2"),
    "a negative temperature": (["rl", "--temperature", "-1"], "--temperature -1.0: must be at least 0.001"),
    "a temperature that is no number": (["rl", "--temperature", "nan"], "--temperature nan: must be at least 0.001"),
    "a temperature next to nothing": (["sample", "--temperature", "1e-40"], "--temperature 1e-40: must be 0, or at least 0.001"),
    "min-p above one": (["rl", "--min-p", "1.5"], "--min-p 1.5: must be at least 0 and at most 1"),
    "no steps": (["rl", "--steps", "0"], "--steps 0: must be at least 1"),
    "a device there is not": (["rl", "--device", "cuda:77"], "--device cuda:77: torch cannot use it here"),
    "a device nobody has": (["rl", "--device", "abacus"], "--device abacus: t1mini runs on cpu and cuda"),
    "one problem to train's evaluation": (["train", "--problems", "1"], "--problems 1: an interval over problems"),
    "a missing checkpoint": (["rl", "--init", "{tmp}/nowhere"], "there is no checkpoint folder {tmp}/nowhere"),
    "a truncated checkpoint": (["rl", "--init", "{tmp}/truncated"], "cannot read weights from {tmp}/truncated/model.safetensors"),
    "an impossible shape": (["evaluate", "--init", "{tmp}/impossible"], "4 attention heads cannot share 3"),
    "another tokenizer": (["rl", "--init", str(GOLDEN)], "its tokenizer is not Countdown's"),
    "another tokenizer, to sft": (["sft", "--init", str(GOLDEN)], "its tokenizer is not Countdown's"),
    "heads that do not divide": (["sft", "--hidden", "97"], "--hidden 97"),
    "a folder that cannot be written": (["rl", "--init", "data/tiny-sft", "--out", "{tmp}/file/run"], "cannot write to {tmp}/file/run"),
    "a folder that holds a run": (["rl", "--init", "data/tiny-sft", "--out", "{tmp}/taken"], "{tmp}/taken already holds a run"),
    "no problems": (["rl", "--init", "data/tiny-sft", "--data", "{tmp}"], "there are no problems at {tmp}/train.jsonl; write them with"),
    "a broken problem": (["evaluate", "--data", "{tmp}/broken"], "{tmp}/broken/test.jsonl, line 2"),
    "one problem": (["evaluate", "--problems", "1"], "--problems 1 of the 672 in data: an interval needs at least 2"),
    "a file of one problem": (["evaluate", "--data", "{tmp}/single.jsonl"], "--problems 0 of the 1 in {tmp}/single.jsonl"),
    "a folder with files in it": (["rl", "--init", "data/tiny-sft", "--out", "{tmp}/broken"], "{tmp}/broken already holds files"),
    "a name too long": (["rl", "--init", "data/tiny-sft", "--out", "{tmp}/" + "a" * 300], "File name too long"),
    "weights out of all proportion": (["sample", "--init", "{tmp}/huge", "--file", "{tmp}/lines2.txt"], "logits are not finite"),
    "more tokens than positions": (["sample", "--file", "{tmp}/lines2.txt", "--max-new-tokens", "5000"], "come to 5007 tokens; the model was made for 4096"),
    "a budget no response reaches": (["scale", "--budgets", "20", "500"], "--budgets 500: no response is longer"),
    "a broken line to sample": (["sample", "--file", "{tmp}/lines.txt"], "{tmp}/lines.txt, line 2"),
    "a run there is not": (["plot", "{tmp}/nowhere"], "{tmp}/nowhere"),
}


@pytest.fixture
def mishaps(tmp_path):
    for name in ("truncated", "impossible"):
        shutil.copytree(GOLDEN, tmp_path / name)
    (tmp_path / "truncated/model.safetensors").write_bytes((GOLDEN / "model.safetensors").read_bytes()[:5000])
    config = json.loads((GOLDEN / "config.json").read_text())
    (tmp_path / "impossible/config.json").write_text(json.dumps(config | {"num_key_value_heads": 3}))
    (tmp_path / "file").write_text("")
    for folder in ("taken", "broken"):
        (tmp_path / folder).mkdir()
    (tmp_path / "taken/config.json").write_text("{}")
    (tmp_path / "broken/test.jsonl").write_text('{"numbers": [3, 4, 11], "target": 77}\n{"numbers": [3, 4], "target": 77}\n')
    shutil.copytree(ROOT / "data/tiny-sft", tmp_path / "huge")
    weights = load_file(tmp_path / "huge/model.safetensors")
    save_file({name: w * 1e30 for name, w in weights.items()}, tmp_path / "huge/model.safetensors")
    (tmp_path / "single.jsonl").write_text('{"numbers": [3, 4, 11], "target": 77}\n')
    (tmp_path / "lines2.txt").write_text("3 4 11 77\n")
    (tmp_path / "lines.txt").write_text("3 4 11 77\n3 4 11\n")
    return tmp_path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(name, mishaps, capsys):
    words, message = MISTAKES[name]
    if "--out" not in words and words and words[0] in STAGES:
        words = [*words, "--out", "{tmp}/out"]
    before = sorted(mishaps.rglob("*"))
    assert main([word.format(tmp=mishaps) for word in words]) == 2
    printed = capsys.readouterr()
    assert message.format(tmp=mishaps) in printed.err
    assert printed.err.startswith("t1mini: ") and printed.err.count("\n") == 1
    assert sorted(mishaps.rglob("*")) == before
