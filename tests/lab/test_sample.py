"""What `sample` shows: a line an attempt, finished or not, what to know of a problem, two models side by side."""

from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.lab.sample import layout, remark, side_by_side
from t1mini.penalties import judge
from t1mini.tasks import countdown, maths
from t1mini.tasks.countdown import Problem

ROOT = Path(__file__).parents[2]
EASY = Problem((3, 4, 11), 77)
MISS, HIT = "3 + 11 = 14 * 4 = 56 low", "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok"
SHOWN = {MISS: "3 + 11 = 14 * 4 = 56        low", HIT: "3 + 4 = 7 * 11 = 77         check 3 + 4 = 7 , 7 * 11 = 77 ok"}


def shown(text, problem=EASY, finished=True, task=countdown):
    verdict = judge(task, problem, text, [0] * 9, finished=finished, max_new_tokens=9, repeat_limit=4)
    return layout(problem, verdict).split("\n")


@pytest.mark.parametrize("text, lines", [
    (f"{MISS} {HIT} answer 3 + 4 * 11", [SHOWN[MISS], SHOWN[HIT], "answer 3 + 4 * 11           right"]),
    (f"{MISS} stop answer none", [SHOWN[MISS], "stop answer none            wrong"]),
    ("3 + 4 = 7 * 11 = 77 answer 3 * 4 + 11", ["3 + 4 = 7 * 11 = 77", "answer 3 * 4 + 11           wrong"]),
    ("3 + 4 = 7 * 11 = 77 3 + 4 = 7", ["3 + 4 = 7 * 11 = 77", "3 + 4 = 7                   wrong"]),
    ("10 + 12 = 22 + 14 = 36 + 15 = 51 low answer none", ["10 + 12 = 22 + 14 = 36 + 15 = 51 low", "answer none                 wrong"]),
    ("", ["                            wrong"]),
])
def test_an_attempt_is_a_line_and_what_is_said_of_it_stands_apart(text, lines):
    assert shown(text) == lines


@pytest.mark.parametrize("rest", ["", "3 +", "3 + 4 = 7", "3 + 4 = 7 * 11 = 77", "stop", "answer", "answer 3 +"])
def test_what_is_unfinished_stands_on_its_own_line_with_all_its_spaces(rest):
    assert shown(f"{MISS} {rest}".strip(), finished=False) == [SHOWN[MISS], *filter(None, [rest]), "no end within the limit"]


def test_mathematics_is_shown_as_it_is():
    problem = maths.Problem("3 + 4?", "")
    assert shown("  3 + 4\n    = 7", problem, True, maths) == ["  3 + 4", "    = 7"]
    assert shown("  3 + 4\n    = ", problem, False, maths) == ["  3 + 4", "    = ", "no end within the limit"]


@pytest.mark.parametrize("problem, says", [
    (EASY, ""), (Problem((3, 4, 5), 98), "nothing solves it"), (Problem((10, 20, 30), 60), "outside what the models of data/ know"),
    (Problem((1, 2, 3, 4), 10), "outside"), (Problem((3, 4, 11), 11), "outside"), (Problem((90, 91, 92), 13), "nothing solves it"),
])
def test_what_to_know_of_a_problem_is_said(problem, says, capsys):
    remark(problem)
    printed = capsys.readouterr().out
    assert says in printed and bool(printed) == bool(says)


def test_texts_stand_side_by_side_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    rows = side_by_side(("a", "b"), ("1\n\n2", "word " * 12)).split("\n")
    assert [row[:35].strip() for row in rows] == ["a", "1", "", "2"] and rows[0][35] == "b" and max(map(len, rows)) <= 70
    assert side_by_side(("a",), ("x" * 200,)) == "x" * 200


def test_two_models_think_about_the_same_problem(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (tmp_path / "problems.txt").write_text("3 4 11 77\n3 4 5 98\n")
    words = f"sample --threads 1 --samples 2 --file {tmp_path / 'problems.txt'} --init data/tiny-sft data/tiny-rl"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    names = [line.split() for line in printed.splitlines() if "data/tiny" in line]
    assert names == [["data/tiny-sft", "data/tiny-rl"]] * 4 and printed.count("nothing solves it") == 1


def test_the_readme_shows_what_the_command_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    said = Path("README.md").read_text("utf-8").partition("$ python -m t1mini sample --seed 1\n> ")[2].partition("\n```")[0]
    problem, _, thinking = said.partition("\n")
    (tmp_path / "problem").write_text(problem)
    assert main(["sample", "--seed", "1", "--file", str(tmp_path / "problem")]) == 0
    assert thinking in capsys.readouterr().out and "right" in thinking
