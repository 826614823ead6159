"""What `data --files` says of files that others wrote, and makes of them."""

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


def test_files_are_divided_each_question_once_and_none_of_the_test_problems(tmp_path, capsys):
    def file(name, *rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    gsm8k = [{"question": f"Sum {n}?", "answer": "<<1+1=2>>" * n + f" #### {n}"} for n in range(1, 9)]
    more = file("b.jsonl", {"question": "sum 1", "answer": "1"}, {"question": "Tom has 5 apples.", "answer": "5"})
    tests = file("t.jsonl", {"question": "SUM 2?", "answer": "2"}, {"question": "Tom has 17 apples?", "answer": "17"})
    words = ["data", "--files", file("a.jsonl", *gsm8k), more, "--without", tests, "--most-steps", "6", "--out", str(tmp_path / "out")]
    assert main([*words, "--validation", "2"]) == 0
    said = {line[10:]: int(line[:8]) for line in capsys.readouterr().out.splitlines()}
    assert said == {"left out: asked in --without as well": 1, "left out: of more than 6 steps": 2, "left out: asked before": 1,
                    "kept, though asked in --without with other numbers": 6,
                    f"{tmp_path}/out/train.jsonl": 4, f"{tmp_path}/out/validation.jsonl": 2}
    parts = [[json.loads(line) for line in (tmp_path / "out" / name).open()] for name in ("train.jsonl", "validation.jsonl")]
    key = lambda row: row["question"]
    assert sorted(sum(parts, []), key=key) == sorted([gsm8k[0], *gsm8k[2:6], {"question": "Tom has 5 apples.", "answer": "5"}], key=key)
    (tmp_path / "out/train.jsonl").rename(tmp_path / "elsewhere.jsonl")
    assert main([*words, "--validation", "2"]) == 2 and "it has a validation.jsonl, which stays" in capsys.readouterr().err
    (tmp_path / "elsewhere.jsonl").rename(tmp_path / "out/train.jsonl")
    for more, error in (["--validation", "6"], "--validation 6"), (["--validation", "2"], "it has a train.jsonl"), (["--out", ""], "--without is for --files with --out"):
        assert main([*words, *more]) == 2
        assert error in capsys.readouterr().err


def test_solutions_become_equations_and_questions_of_which_none_or_several_fit_are_left_out(tmp_path, capsys):
    rows = [{"question": "Of 50 in 2 boxes 9 are left. How many went?", "answer": "41"}, {"question": "2 and 2?", "answer": "4"},
            {"question": "4 and 2 more?", "answer": "8"}, {"question": "4 by 2?", "answer": "7"},
            {"question": "2.5 and 1?", "answer": "It is 2.5+1=<<2.5+1=3.5>>3.5.\n#### 3.5"}]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["data", "--files", str(tmp_path / "p.jsonl"), "--equations", "--validation", "1", "--out", str(tmp_path / "out")]) == 0
    assert "2  left out: without an equation" in capsys.readouterr().out
    kept = [json.loads(line)["answer"] for name in ("train", "validation") for line in (tmp_path / f"out/{name}.jsonl").open()]
    assert sorted(kept) == ["2.5+1 = 3.5\n#### 3.5", "4*2 = 8\n#### 8", "50-9 = 41\n#### 41"]
