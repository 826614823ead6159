"""Lessons run as they stand and quote what stands in the source; pages lead somewhere."""

import contextlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from t1mini.__main__ import main, read
from t1mini.runs.folder import read_rows
from t1mini.runs.settings import UserError

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "tutorials"
sys.path[:0] = [str(TUTORIALS), str(ROOT)]

import make_notebooks  # noqa: E402
import own_task  # noqa: E402
from checking import lessons, report  # noqa: E402
from tutorials.findings import experiments  # noqa: E402


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(ROOT)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("path", lessons.LESSONS, ids=lambda path: path.stem)
def test_a_lessons_fences_run_when_pasted_in_the_projects_folder(path):
    lessons.run(path)


@pytest.mark.parametrize("path", lessons.PAGES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_quotes_stand_in_the_source_links_lead_somewhere_and_commands_exist(path):
    for block in lessons.blocks(path):
        quoted = (ROOT / block.of).read_text(encoding="utf-8") if block.kind == "quote" else block.text
        assert block.text in quoted, f"{block.of} does not have:\n{block.text}"
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if not target.startswith("http"):
            page = path.parent / file if file else path
            assert page.exists(), f"{path.name} links to {target}"
            assert not anchor or anchor in anchors(page), f"{path.name} links to {target}: no such heading"
    for command in lessons.commands(path):
        words = ["2" if word.isupper() else word for word in command.split()]  # for K, SEED and other names
        if words[1:3] == ["-m", "t1mini"] and "..." not in words:
            with contextlib.suppress(UserError) if "--resume" in words else contextlib.nullcontext():
                read(words[3:])
        for word in words[1:4]:
            if word.endswith(".py") and "/" in word:
                assert (ROOT / word).exists(), command


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_lesson_has_its_parts():
    assert len(lessons.LESSONS) == 10
    for path in lessons.LESSONS:
        text, kinds = path.read_text(encoding="utf-8"), {block.kind for block in lessons.blocks(path)}
        assert {"prose", "code", "quote"} <= kinds, path.name
        headings = ("## The equation", "## The lines", "## Try it", "## What to try", "## Exercise")
        for part in ("minutes to read.", "![", "$$", *headings, report.exercise_file(path.stem[:2]).name):
            assert part in text, path.name


def test_lines_of_code_are_short():
    paths = [path for path in TUTORIALS.glob("**/*.py") if "notebooks" not in path.parts]
    lines = {path: path.read_text("utf-8").splitlines() for path in paths}
    assert len(lines) > 30 and [path for path in lines if max(map(len, lines[path]), default=0) > 110] == []


def test_notebooks_go_into_a_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert make_notebooks.main(tmp_path / "file") == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'file'}: ")


def test_notebooks_execute(tmp_path):
    assert make_notebooks.main(tmp_path) == 0
    for lesson, path in zip(lessons.LESSONS, sorted(tmp_path.glob("*.ipynb")), strict=True):
        book = json.loads(path.read_text(encoding="utf-8"))
        assert book["nbformat"] == 4 and all({"id", "metadata"} <= cell.keys() for cell in book["cells"])
        code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
        write, check = (next(text for text in code if text.startswith(sign)) for sign in ("%%writefile ", "!"))
        assert code.index(check) == code.index(write) + 1
        plain = [text for text in code if text not in (write, check)]
        assert plain[1:] == [block.text for block in lessons.blocks(lesson) if block.kind == "code"]
        file, stub = write.removeprefix("%%writefile ").split("\n", 1)
        assert stub == report.exercise_file(lesson.stem[:2]).read_text(encoding="utf-8").strip()
        assert check.format(sys=sys).split()[1:] == ["tutorials/check.py", lesson.stem[:2], "--submission", file]
        if lesson.name.startswith("03"):
            exec("\n".join(plain), {})


def test_figures_come_from_committed_rows():
    for function in experiments.EXPERIMENTS:
        rows = read_rows(TUTORIALS / f"findings/experiments/{function.__name__}.csv")
        sound = [row["line"] and float(row["x"]) >= 0 and float(row["y"]) >= -50 for row in rows]
        assert len(sound) >= 5 and all(sound)


def test_a_task_of_your_own_trains(tmp_path):
    before, after = own_task.main(str(tmp_path / "own"), traces=48, steps=1, problems=4)
    assert 0 <= before <= 1 and 0 <= after <= 1
    assert own_task.is_correct(own_task.Problem((9, 2, 5)), "try 2 9 5 no answer 2 5 9")
    assert not own_task.is_correct(own_task.Problem((9, 2)), "answer 9 2")
    shared = ["--task", "tutorials/own_task.py", "--data", str(tmp_path / "own"), "--max-new-tokens", "64"]
    for words in ("rl --init {0}/sft --steps 1 --prompts 2 --workers 1", "evaluate --init {0}/rl/final",
                  "scale --init {0}/rl/final --budgets 8 16"):
        stage = words.format(tmp_path / "own").split()
        assert main([*stage, *shared, "--out", str(tmp_path / stage[0])]) == 0
