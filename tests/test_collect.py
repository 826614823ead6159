"""Collect loses no row and doubles none, wherever it is cut, and its rows are those of a run that was not."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from t1mini import collect
from t1mini.__main__ import main
from t1mini.collect import read_finished
from t1mini.runs.settings import UserError
from t1mini.tasks.maths import Problem

GOLDEN = Path(__file__).parent / "golden/qwen2-tiny"
PROBLEMS = [{"question": f"{i} + 1?", "answer": f"#### {i + 1}"} for i in range(8)]


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "AT_ONCE", 3)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return ["collect", "--init", str(GOLDEN), "--data", str(tmp_path / "train.jsonl"), "--samples", "2", "--max-new-tokens", "8", "--threads", "1"]


@pytest.fixture
def whole(words, tmp_path):
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    return tmp_path / "whole"


@pytest.mark.parametrize("share", [0, 0.05, 0.4, 0.63, 0.9, 0.999, 1])
def test_a_file_cut_anywhere_ends_the_same(whole, tmp_path, share):
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    content = (whole / "attempts.jsonl").read_bytes()
    (cut / "attempts.jsonl").write_bytes(content[: int(share * len(content))])
    assert main(["collect", "--resume", str(cut)]) == 0
    for name in ("attempts.jsonl", "traces.jsonl", "hard.jsonl"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_batch_finish(words, whole, tmp_path, monkeypatch, capsys, number, code):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        attempt = collect.attempt
        patch.setattr(collect, "attempt", lambda *a: (os.kill(os.getpid(), number), attempt(*a))[1])
        assert main([*words, "--out", str(run)]) == code
    assert f"stopped after 3 of 8 problems; go on with python -m t1mini collect --resume {run}" in capsys.readouterr().err
    assert len((run / "attempts.jsonl").read_text().splitlines()) == 3
    assert main(["collect", "--resume", str(run)]) == 0
    assert (run / "attempts.jsonl").read_bytes() == (whole / "attempts.jsonl").read_bytes()


@pytest.mark.parametrize("content, message", [
    ('{"problem": "0 + 1?"}\n{\n', "is damaged"), ('{"problem": "9 + 9?"}\n', "other problems"), ('[]\n', "is damaged"),
    ('{"problem": "0 + 1?"}\n' * 3, "other problems")])
def test_a_file_that_is_not_of_these_problems_is_left_alone(tmp_path, monkeypatch, content, message):
    monkeypatch.setattr(collect, "AT_ONCE", 1)
    (tmp_path / "attempts.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        read_finished(tmp_path / "attempts.jsonl", [Problem("0 + 1?", "1"), Problem("1 + 1?", "2")])
    assert (tmp_path / "attempts.jsonl").read_text() == content
