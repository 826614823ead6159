"""What `data --files` says of files that others wrote."""

import json

from t1mini.__main__ import main


def said(tmp_path, capsys, *rows) -> str:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(dict(zip(("problem", "answer"), row))) + "\n" for row in rows))
    assert main(["data", "--files", str(path)]) == 0
    return capsys.readouterr().out


def test_repeated_questions_are_counted_and_shown_apart_where_their_answers_differ(tmp_path, capsys):
    out = said(tmp_path, capsys, ("How many?", "4"), ("how  many", "4.0"), ("HOW MANY!", "5"), ("Half?", "\\frac12"), ("half", "0.5"), ("2+2?", "4"), ("2-2?", "0"))
    assert "2 repeat a question, such as how  many -> 4.0" in out
    assert "1 repeat a question with a different answer, such as HOW MANY! -> 5" in out


def test_an_answer_that_is_a_sentence_is_counted_and_shown_unless_it_has_a_box(tmp_path, capsys):
    out = said(tmp_path, capsys, ("a", "So we get $\\boxed{4}$."), ("b", "It is four."), ("c", "\\text{Evelyn}"), ("d", "5 square feet"), ("e", "x^2 + 2x + 1"))
    assert "1 have a sentence as answer, without a box, such as b -> It is four." in out
    assert said(tmp_path, capsys, ("a", "4"), ("b", "5")).count("\n") == 1
