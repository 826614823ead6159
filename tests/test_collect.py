"""Collect loses no row and doubles none, wherever it is stopped, and its rows are those of a run that was not."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from t1mini import collect
from t1mini.__main__ import main
from t1mini.collect import CollectConfig, make_trace, make_traces
from t1mini.runs.tokenizer import Tokenizer
from t1mini.verifier import extract_answer, verify

GOLDEN = Path(__file__).parent / "golden/qwen2-tiny"
FILES = ("attempts/000000.jsonl", "attempts/000006.jsonl", "traces.jsonl", "hard.jsonl")


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "BATCH", 3)
    problems = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(9)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    return ["collect", "--init", str(GOLDEN), "--data", str(tmp_path / "train.jsonl"), "--samples", "2", "--max-new-tokens", "8",
            "--max-batch-tokens", "300", "--threads", "1"]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_stopped_or_killed_ends_as_one_that_was_not(words, tmp_path, monkeypatch, capsys, number, code):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main([*words, "--out", str(whole)]) == 0
    said = {line.rpartition(" ")[0].strip(): int(line.split()[-1]) for line in capsys.readouterr().out.splitlines()}
    assert said == {"problems": 9, "traces.jsonl: kept": 0, "left out: never solved": 9, "hard.jsonl: solved in 0% to 30%": 9}
    assert [json.loads(line) for line in (whole / "hard.jsonl").open()] == [{"question": f"{i} + 1?", "answer": f"{i + 1}"} for i in range(9)]
    with monkeypatch.context() as patch:
        respond = collect.respond
        patch.setattr(collect, "respond", lambda *a: respond(*a) if a[-1][0] < 3 else os.kill(os.getpid(), number))
        assert main([*words, "--out", str(run)]) == code
    assert f"stopped; go on with python -m t1mini collect --resume {run}" in capsys.readouterr().err
    assert [path.name for path in (run / "attempts").iterdir()] == ["000000.jsonl"]
    (run / "attempts/000003.jsonl.part").write_text('{"question": "3 + 1?", "answ')  # what a run leaves that is killed while it writes
    shutil.copytree(run, tmp_path / "other")
    assert main(["collect", "--resume", str(run)]) == 0
    assert all((run / name).read_bytes() == (whole / name).read_bytes() for name in FILES)
    (tmp_path / "other/attempts/000000.jsonl").write_bytes((run / "attempts/000000.jsonl").read_bytes()[:-5])
    assert main(["collect", "--resume", str(tmp_path / "other")]) == 2
    assert "attempts/000000.jsonl, line 6" in capsys.readouterr().err
    (tmp_path / "other/attempts/000000.jsonl").write_text("".join((run / "attempts/000000.jsonl").open().readlines()[:-1]))
    assert main(["collect", "--resume", str(tmp_path / "other")]) == 2
    assert "attempts/000000.jsonl: not all its lines are there; remove it" in capsys.readouterr().err


def attempts(*answers: str, gold="7", finished=True) -> list[dict]:
    return [{"question": "3 + 4?", "answer": gold, "text": f"<think>I get {a}.</think> So \\boxed{{{a}}}.", "overlong": not finished,
             "garbled": False, "repetitive": False, "correct": a == gold and finished} for a in answers]


def test_a_trace_has_different_failures_then_a_success():
    for seed in range(9):
        trace = make_trace(attempts("5", "5", "6", "7", "8"), 2, random.Random(seed))
        thinking = trace.partition("</think>")[0]
        tried = [a for a in "5678" if f"I get {a}. So {a}." in thinking.replace("\n", " ")]
        assert "7" in tried and 2 <= len(tried) <= 3 and "boxed" not in thinking
        assert trace.rfind("I get 7.") > max(trace.rfind(f"I get {a}.") for a in "568")
        assert extract_answer(trace) == "7"


@pytest.mark.parametrize("pattern", ["garbled", "repetitive", "overlong"])
def test_no_trace_has_what_rl_would_punish(pattern):
    group = attempts("5", "6", "7") + [row | {pattern: True, "text": "Well, " + row["text"]} for row in attempts("5", "7")]
    assert not any("Well" in make_trace(group, 2, random.Random(seed)) for seed in range(20))
    assert make_trace([row | {pattern: True} for row in group[:2]] + group[2:3], 2, random.Random(0)) == ""


def test_what_is_not_worked_out_is_not_called_wrong():
    group = attempts("3 + 4", "7", "8")
    group[0]["correct"] = verify(group[0]["text"], "7")
    assert not group[0]["correct"] and not any("I get 3 + 4" in make_trace(group, 2, random.Random(seed)) for seed in range(20))


def test_some_traces_are_right_at_once():
    traces = [make_trace(attempts("5", "6", "7"), 2, random.Random(seed), at_once=0.5) for seed in range(40)]
    alone = [trace for trace in traces if trace.startswith("<think>\nI get 7.")]
    assert 10 < len(alone) < 30 and all(trace.count("I get") == 1 and verify(trace, "7") for trace in alone)


def test_traces_come_from_a_clean_failure_beside_a_clean_success_and_are_not_too_long():
    kept = attempts("1", "7")
    rows = [attempts("7", "7", "7"), attempts("1", "2"), kept, attempts("1" * 5000, "7"), attempts("1", finished=False) + attempts("7"),
            attempts("1", *"7" * 15)]
    traces, _, left_out = make_traces(rows, Tokenizer.from_dir(GOLDEN), CollectConfig(trace_tokens=900))
    assert sum(left_out.values()) == 5
    assert len(traces) == 1 and traces[0]["question"] == "3 + 4?" and verify(traces[0]["response"], "7")


def test_a_collect_without_traces_says_so_and_goes_on_only_with_what_it_was_begun_with(words, tmp_path, capsys):
    run, data = tmp_path / "run", tmp_path / "train.jsonl"
    assert main([*words, "--out", str(run)]) == 0
    assert "traces.jsonl is empty: no problem was solved" in (said := capsys.readouterr().err) and "--samples" in said
    data.write_text(data.read_text().replace("#### 9", "#### 8"))
    assert main(["collect", "--resume", str(run)]) == 2
    assert f"train.jsonl is not what {run} was begun with" in capsys.readouterr().err
