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
    problems = [{"question": f"{i % 8} + 1?", "answer": f"#### {i % 8 + 1}"} for i in range(9)]  # one of them twice
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    return ["collect", "--init", str(GOLDEN), "--data", str(tmp_path / "train.jsonl"), "--samples", "2", "--max-new-tokens", "8",
            "--max-batch-tokens", "300", "--threads", "1"]


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_stopped_or_killed_ends_as_one_that_was_not(words, tmp_path, monkeypatch, capsys, number, code):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert main([*words, "--out", str(whole)]) == 0
    assert "never solved" in capsys.readouterr().out
    assert [json.loads(line) for line in (whole / "hard.jsonl").open()] == [{"question": f"{i} + 1?", "answer": f"{i + 1}"} for i in range(8)]
    with monkeypatch.context() as patch:
        respond = collect.respond
        patch.setattr(collect, "respond", lambda *a: (os.kill(os.getpid(), number), respond(*a))[1])
        assert main([*words, "--out", str(run)]) == code
    assert f"stopped after 3 of 8 problems; go on with python -m t1mini collect --resume {run}" in capsys.readouterr().err
    (run / "attempts/000003.jsonl.part").write_text('{"question": "3 + 1?", "answ')  # what a run leaves that is killed while it writes
    shutil.copytree(run, tmp_path / "other")
    assert main(["collect", "--resume", str(run)]) == 0
    assert all((run / name).read_bytes() == (whole / name).read_bytes() for name in FILES)
    rows = (tmp_path / "train.jsonl").read_text()
    for content, message in ((rows.replace("1 + 1?", "1 + 2?"), "was made from other problems"), (rows, "attempts/000000.jsonl, line 6")):
        (tmp_path / "train.jsonl").write_text(content)
        (tmp_path / "other/attempts/000000.jsonl").write_bytes((run / "attempts/000000.jsonl").read_bytes()[: -5 if content == rows else None])
        assert main(["collect", "--resume", str(tmp_path / "other")]) == 2
        assert message in capsys.readouterr().err


def attempts(*answers: str, gold="7", finished=True) -> list[dict]:
    return [{"question": "3 + 4?", "answer": gold, "text": f"<think>I get {a}.</think> So \\boxed{{{a}}}.", "overlong": not finished,
             "garbled": False, "correct": a == gold and finished} for a in answers]


def test_a_trace_has_different_failures_then_a_success():
    for seed in range(9):
        trace = make_trace(attempts("5", "5", "6", "7", "8"), 2, random.Random(seed))
        thinking = trace.partition("</think>")[0]
        tried = [a for a in "5678" if f"I get {a}. So {a}." in thinking.replace("\n", " ")]
        assert "7" in tried and 2 <= len(tried) <= 3 and "boxed" not in thinking
        assert trace.rfind("I get 7.") > max(trace.rfind(f"I get {a}.") for a in "568")
        assert extract_answer(trace) == "7"


def test_what_gives_no_trace_is_counted():
    rows = [attempts("7", "7", "7"), attempts("1", "2"), attempts("1", "7"), attempts("1" * 5000, "7"), attempts("1") + attempts("2", finished=False), attempts("1", finished=False) + attempts("7")]
    outcomes, traces = make_traces(rows, Tokenizer.from_dir(GOLDEN), CollectConfig(trace_tokens=900))
    assert outcomes == {"too easy": 1, "never solved": 2, "kept": 1, "too long": 1, "no clean failure beside a clean success": 1}
    assert len(traces) == 1 and verify(traces[0]["response"], "7")
