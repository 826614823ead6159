"""Real mathematics end to end on a tiny random Qwen: files, collect, sft, rl, evaluate and scale, through the command line."""

import json
from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.runs.settings import UserError
from t1mini.inference_scaling import thoughts
from t1mini.penalties import is_repetitive
from t1mini.tasks.maths import Problem, key, load_problems, prompt_ids, repetition, response_text, shared
from t1mini.runs.tokenizer import Tokenizer
from t1mini.sft import read_examples
from t1mini.verifier import verify

GOLDEN = Path(__file__).parents[1] / "golden/qwen2-tiny"
GSM8K = [{"question": f"Tom has {n} apples and gets {n + 1} more. How many?", "answer": f"{n} + {n + 1} = <<{n}+{n + 1}={2 * n + 1}>>\n#### {2 * n + 1:,}"}
         for n in (2, 3, 5, 700)]


def write(path: Path, rows: list) -> str:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_each_dataset_is_read_as_it_is_distributed(tmp_path):
    path = write(tmp_path / "mixed.jsonl", [
        GSM8K[3], {"problem": "1 + 1?", "solution": "It is $\\boxed{2}$.", "level": "Level 1"}, {"problem": "Half?", "answer": "\\frac12", "solution": "none"},
        {"Problem": "AIME", "Answer": 204}, "\n"])
    assert [p.answer for p in load_problems(path)] == ["1,401", "2", "\\frac12", "204"]


@pytest.mark.parametrize("row, message", [
    ("{not json}\n", "line 2: not JSON"), ('["list"]\n', "line 2: expected an object"), ({"answer": "5"}, 'line 2: no text under "question"'),
    ({"problem": "1 + 1?"}, "line 2: no final answer"), ({"problem": "1 + 1?", "solution": "two"}, "line 2: no final answer"),
    ({"question": "1?", "answer": "one " * 30}, 'line 2: no final answer; want "answer" (GSM8K'), ({"question": "1?", "answer": "#### "}, "no final answer"),
])
def test_a_broken_line_is_named(tmp_path, row, message):
    with pytest.raises(UserError) as error:
        load_problems(write(tmp_path / "p.jsonl", [GSM8K[0], row]))
    assert message in str(error.value) and "p.jsonl" in str(error.value)


def test_questions_in_both_files_are_counted():
    a = [Problem("How many  apples?", "1"), Problem("How many pears?", "2")]
    assert shared(a, [Problem("how many apples", "3")]) == 1 and shared(a, []) == 0


def test_the_prompt_is_a_chat_and_the_taught_response_answers_itself():
    tokenizer = Tokenizer.from_dir(GOLDEN)
    text = tokenizer.decode(prompt_ids(Problem("1 + 1?", "2"), tokenizer), special=True)
    assert text.startswith("<|im_start|>user\n1 + 1?") and text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    response = response_text(["It is 3.", "It is 2."], ["Wait, no.", "Right."], "2")
    assert response == "<think>\nIt is 3.\n\nWait, no.\n\nIt is 2.\n\nRight.\n\n</think>\n\nThe final answer is \\boxed{2}."
    assert verify(response, "2") and not verify(response, "3")


@pytest.mark.parametrize("row, response", [
    (GSM8K[0], "<think>\n2 + 3 =\n\n</think>\n\nThe final answer is \\boxed{5}."),
    ({"problem": "q", "solution": "Half of 4, so \\boxed{2}."}, "<think>\nHalf of 4, so 2.\n\n</think>\n\nThe final answer is \\boxed{2}."),
    ({"problem": "q", "solution": "So \\boxed{\\frac{1}{2}}."}, "<think>\nSo \\frac{1}{2}.\n\n</think>\n\nThe final answer is \\boxed{\\frac{1}{2}}."),
    ({"Problem": "q", "Solution": "So 2: \\boxed{2}."}, "<think>\nSo 2: 2.\n\n</think>\n\nThe final answer is \\boxed{2}."),
    ({"question": "q", "answer": "2", "solution": 5}, None), ({"question": "q", "answer": "2"}, None), ({"question": "q"}, None), ({"question": "q", "response": "r"}, "r"),
])
def test_sft_learns_from_traces_and_from_worked_solutions(tmp_path, row, response):
    path, tokenizer = write(tmp_path / "p.jsonl", [row]), Tokenizer.from_dir(GOLDEN)
    if response:
        assert tokenizer.decode(read_examples(path, tokenizer)[0].response) == response
        write(tmp_path / "train.jsonl", [row])
        assert main(["sft", "--task", "math", "--init", str(GOLDEN), "--data", str(tmp_path), "--threads", "1", "--out", str(tmp_path / "sft")]) == 0
    else:
        with pytest.raises(UserError, match='p.jsonl, line 1: want {"question": "...", "response": "..."}.* worked solution'):
            read_examples(path, tokenizer)


def test_the_thinking_ends_before_its_closing_tag_however_that_is_tokenised():
    tokenizer = Tokenizer.from_dir(GOLDEN)
    ids = tokenizer.encode("<think>one two three.</think> four five")
    assert len(tokenizer.encode("</think>")) > 1
    kept = thoughts(ids, 1000, tokenizer, "</think>")
    assert "three" in tokenizer.decode(kept) and "</think>" not in tokenizer.decode(kept)
    for text in ("I think 5.", "I think 5.\n", "5 \U0001f600", ""):
        kept = thoughts(tokenizer.encode(text + "</think>\n\nSo \\boxed{5}"), 1000, tokenizer, "</think>")
        assert tokenizer.decode(kept) == text  # nor has it a part of the tag
    assert thoughts(ids, 3, tokenizer, "</think>") == ids[:3]
    assert thoughts(ids[:5], 1000, tokenizer, "</think>") == ids[:5]


def test_the_zeros_of_a_factorial_are_no_repetition_and_babble_is():
    ids = [9, 3, *[7] * 24, 5]
    assert is_repetitive(ids, 20, limit=4)
    assert not is_repetitive(*repetition("93" + "0" * 24 + ".", ids), limit=4)
    assert is_repetitive(*repetition("so " * 24, ids), limit=4)
    assert is_repetitive(*repetition("0" * 24 + "so " * 40, [*ids, *[8] * 40]), limit=4)


def test_sft_rl_evaluation_and_scaling_run_on_gsm8k(tmp_path, capsys):
    """The tiny random Qwen learns one sentence by heart, so that there is a right answer for RL to reward."""
    data = write(tmp_path / "train.jsonl", GSM8K)
    traces = write(tmp_path / "traces.jsonl", [{"question": row["question"], "response": response_text(["It is 5."], ["Yes."], "5")} for row in GSM8K])
    math, small = ["--task", "math", "--threads", "1"], ["--max-new-tokens", "60"]
    assert main(["sft", *math, "--init", str(GOLDEN), "--data", traces, "--epochs", "60", "--batch", "4", "--warmup", "5", "--recompute",
                 "--save-precision", "bfloat16", "--micro-batch-tokens", "300", "--out", str(tmp_path / "sft")]) == 0
    start = str(tmp_path / "sft/final")
    assert main(["rl", *math, *small, "--init", start, "--data", data, "--steps", "2", "--prompts", "4", "--k", "4", "--recompute", "--lr", "1e-4",
                 "--reference-on-cpu", "--precision", "bfloat16", "--out", str(tmp_path / "rl")]) == 0
    assert main(["evaluate", *math, *small, "--init", str(tmp_path / "rl/final"), "--data", data, "--samples", "4", "--out", str(tmp_path / "e")]) == 0
    assert main(["scale", *math, *small, "--init", start, "--data", data, "--samples", "2", "--budgets", "4", "40", "--out", str(tmp_path / "s")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "e/responses.jsonl").read_text().splitlines()]
    assert len(rows) == 16 and {row["correct"] for row in rows if row["answer"] != "5"} == {False}
    assert any(row["correct"] for row in rows if row["answer"] == "5")
    assert all(row["correct"] == verify(row["text"], row["answer"]) for row in rows if not row["overlong"])
    assert "pass@4" in capsys.readouterr().out


@pytest.mark.parametrize("row, answer", [
    ({"solution": "It follows that $s = \\boxed 9$."}, "9"), ({"solution": "\\fbox{4}"}, "4"), ({"solution": "$\\boxed\\frac12$"}, "\\frac12"),
    ({"solution": "The answer is 5, no: $\\boxed{9}$. The answer is 5."}, "9"), ({"answer": "We add 2 and 2 and get $\\boxed{4}$."}, "4"),
    ({"answer": "word " * 30 + "\\boxed 12."}, "12"), ({"answer": "", "solution": "\\boxed{4}"}, "4"), ({"answer": " \n", "solution": "\\boxed{4}"}, "4"),
    ({"answer": None, "solution": "\\boxed{4}"}, "4"), ({"answer": "####", "solution": "\\fbox 4"}, "4"), ({"answer": [], "solution": "\\boxed{4}"}, "4"),
    ({"answer": "first \\boxed{3}\n#### 4"}, "4"), ({"answer": "#### $\\boxed{4}$"}, "4"), ({"answer": "\\text{Evelyn}", "solution": "\\boxed{no}"}, "\\text{Evelyn}"),
    ({"answer": "\\boxed{}", "solution": "\\boxed{4}"}, "4"), ({"answer": "\\{1, 2\\}"}, "\\{1, 2\\}"), ({"answer": "$\\fbox{\\boxed 4}$"}, "4"),
    ({"answer": 0, "solution": "\\boxed{4}"}, "0"), ({"question": None, "problem": "q", "answer": "4"}, "4"), ({"Solution": "\\boxed{\\boxed{4}}"}, "4"),
])
@pytest.mark.parametrize("field", ["problem", "question"])
def test_the_gold_answer_is_what_is_boxed_and_the_solution_counts_where_there_is_none(tmp_path, field, row, answer):
    assert load_problems(write(tmp_path / "p.jsonl", [{field: "q"} | row])) == [Problem("q", answer)]


def test_all_broken_lines_are_named_at_once(tmp_path):
    bad = ["{", {"answer": "5"}, {"problem": "1 + 1?", "answer": "", "solution": "\\boxed{}"}]
    path = write(tmp_path / "p.jsonl", [GSM8K[0], "{\n", GSM8K[1], *bad[1:]])
    with pytest.raises(UserError, match='line 2: not JSON.*; line 4: no text under "question".*; line 5: no final answer.*; 3 bad lines in all'):
        load_problems(path)


def test_questions_are_the_same_but_for_spacing_case_and_punctuation_not_for_signs():
    same = lambda a, b: key(Problem(a, "")) == key(Problem(b, ""))
    assert same("How many\n apples?", "how many apples") and same("$2,000 in all.", "2000 in all") and same("a well-known sum", "a well known sum")
    assert not same("What is 3+4?", "What is 3-4?") and not same("$x-y$", "$xy$") and not same("3.5?", "35?")


@pytest.mark.parametrize("words", ["rl --k 2", "evaluate", "collect", "scale --budgets 4", "sft"])
def test_a_problem_or_trace_longer_than_the_model_is_named_before_anything_runs(words, tmp_path, capsys):
    rows = [row | {"response": "5"} for row in GSM8K]
    rows[2] = rows[2] | {"question": "x y " * 300}
    data, out = write(tmp_path / "p.jsonl", ["\n", *rows]), tmp_path / "out"
    small = ["--max-new-tokens", "9"] if words != "sft" else []
    assert main([*words.split(), *small, "--task", "math", "--init", str(GOLDEN), "--data", data, "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert f"{data}, line 4" in told and "512" in told and "leave" in told and told.count("\n") == 1 and not out.exists()


def test_a_forced_answer_needs_room_as_well(tmp_path, capsys):
    data = write(tmp_path / "p.jsonl", GSM8K)
    words = ["--task", "math", "--init", str(GOLDEN), "--data", data, "--out", str(tmp_path / "out")]
    assert main(["scale", *words, "--max-new-tokens", "380", "--budgets", "380", "--answer-tokens", "40"]) == 2
    assert "line 1, line 2, line 3, line 4 (4 in all)" in capsys.readouterr().err
