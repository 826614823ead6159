"""The real model's page: its drill is right, and its table says what the responses say."""

import csv
import json
import random
import re
import shutil
import sys
from pathlib import Path

import pytest

from t1mini.runs.folder import json_lines
from t1mini.tasks import maths

TUTORIALS = Path(__file__).parents[2] / "tutorials"
sys.path[:0] = [str(TUTORIALS), str(TUTORIALS.parent)]

import drill  # noqa: E402
from tutorials.findings import real_model  # noqa: E402


def test_the_drill_calculates_and_reads_as_worked_solutions():
    rng, seen = random.Random(3), set()
    for _ in range(50):
        row = drill.solution(rng)
        problem = maths.parse_row(row, "here")
        lines = re.findall(r"(\d+)([-+*/])(\d+) = (\d+)", maths.worked_solution(row, problem.answer))
        assert len(lines) == 12 and lines[-1][3] == problem.answer
        for a, sign, b, value in lines:
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b), "/": int(a) / int(b)}[sign] == int(value)
            assert f"{a}{sign}{b}" in row["question"]
            seen.add(sign)
    assert seen == {*"+-*/"}


def test_the_table_has_gains_over_sft_on_the_same_problems(tmp_path, capsys):
    right = {"sft": [1, 0, 0, 0] * 10, "rl": [1, 1, 0, 0] * 10, "half": [1, 1, 0, 0] * 9 + [1, 1, 1, 1]}
    runs = [(seed, policy, right[policy]) for seed in ("0", "1", "few") for policy in ("sft", "rl")]
    for seed, policy, correct in [*runs, ("0", "half", right["half"])]:
        folder = tmp_path / seed / f"svamp-{policy}"
        folder.mkdir(parents=True)
        names = ("length", "repetitive", "overlong", "garbled", "pass@1", "majority@1")
        (folder / "evaluation.json").write_text(json.dumps({name: 0.5 for name in names} | {"samples": 1, "made_by": {"commit": "c", "torch": "t"}}))
        (folder / "responses.jsonl").write_text(json_lines({"text": f"{'Wait, no. ' * c}2 + 3 = {6 - c}</think>", "answer": "5", "correct": bool(c)} for c in correct))
    table = tmp_path / "rows.csv"
    real_model.main(tmp_path, table)
    all_rows = list(csv.DictReader(table.open()))
    rows = [row for row in all_rows if row["policy"] != "half"]
    gains = [(row["seed"], row["policy"], row["gain"]) for row in rows]
    assert gains == [(seed, *of) for seed in ("0", "1", "few") for of in (("rl", "0.25"), ("sft", ""))]
    assert [row["gain"] for row in all_rows if row["policy"] == "half"] == ["0.3"]
    assert all(0 < float(row["from"]) < 0.25 < float(row["to"]) < 0.5 for row in rows if row["gain"])
    assert float(rows[0]["planned"]) == 1 and float(rows[0]["calculated"]) == 0.5 and float(rows[1]["calculated"]) == 0.25
    assert float(rows[0]["turned"]) == 0.5 and float(rows[0]["recovered"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"svamp +rl +over sft, 2 seed\(s\): \+25.0 points \(\+25.0 to \+25.0\)", printed)
    assert re.search(r"svamp +half +over sft, 1 seed\(s\): \+30.0 points \(\+[12][0-9]", printed)

    real_model.main(tmp_path, tmp_path / "controls.csv", "half")
    controls = {(row["seed"], row["policy"]): row for row in csv.DictReader((tmp_path / "controls.csv").open())}
    assert [controls["0", policy]["gain"] for policy in ("rl", "sft", "half")] == ["-0.05", "-0.3", ""]
    assert not any(row["gain"] for (seed, _), row in controls.items() if seed != "0")
    assert re.search(r"svamp +rl +over half, 1 seed\(s\): -5.0 points", capsys.readouterr().out)

    shutil.rmtree(tmp_path / "0")  # its rows stay, and are pooled with what is measured later
    shutil.rmtree(tmp_path / "few")
    real_model.main(tmp_path, table)
    assert list(csv.DictReader(table.open())) == all_rows and "2 seed(s)" in capsys.readouterr().out

    others = tmp_path / "others.csv"
    others.write_text("step,loss\n1,2\n")
    for wrong in (others, tmp_path, tmp_path / "nowhere/rows.csv"):
        with pytest.raises(SystemExit) as stopped:
            real_model.main(tmp_path, wrong)
        assert stopped.value.code == 2 and f"--table {wrong}: " in capsys.readouterr().err
    assert others.read_text() == "step,loss\n1,2\n"


def test_a_folder_without_evaluations_leaves_the_table_as_it_is(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("seed\n")
    with pytest.raises(SystemExit) as stopped:
        real_model.main(tmp_path / "nowhere", tmp_path / "rows.csv")
    assert stopped.value.code == 2 and "nowhere" in capsys.readouterr().err
    assert (tmp_path / "rows.csv").read_text() == "seed\n"


def test_a_response_turns_round_in_words_or_by_another_attempt():
    turns = lambda **row: real_model.turns({"text": "", "attempts": 0} | row)
    assert turns(text="Wait, no.") and turns(target=7, attempts=2)
    assert not turns(text="2 + 3 = 5", attempts=2) and not turns(target=7, attempts=1)
