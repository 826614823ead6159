"""Lessons run and quote what stands there; the checker passes what is right, names what is wrong, and survives what it is given."""

import csv
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "tutorials"
sys.path[:0] = [str(TUTORIALS)]

from checking import bugs, lessons, report, sandbox  # noqa: E402
from checking.diagnose import judge  # noqa: E402
from checking.tasks import TOLERANCE, cases_of, compare, mistaken, outcome_of  # noqa: E402
from t1mini.__main__ import STAGES, make_parser  # noqa: E402
from t1mini.metrics import METRICS  # noqa: E402
from t1mini.verifier import answers_equal, extract_answer  # noqa: E402

TASKS = {task.name: task for number in report.NUMBERS for task in report.tasks_of(number) if hasattr(task, "cases")}


@pytest.fixture(scope="module", autouse=True)
def at_home():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield
    torch.set_num_threads(threads)


# --- lessons -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", lessons.LESSONS, ids=lambda path: path.stem)
def test_a_lessons_code_runs(path):
    lessons.run(path)


@pytest.mark.parametrize("path", lessons.PAGES, ids=lambda path: path.stem)
def test_quotes_stand_in_the_source_and_links_lead_somewhere(path):
    for block in lessons.blocks(path):
        if block.kind == "quote":
            assert block.text in (ROOT / block.of).read_text(encoding="utf-8"), f"{path.name} quotes what {block.of} does not have:\n{block.text}"
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if not target.startswith("http"):
            page = path.parent / file if file else path
            assert page.exists(), f"{path.name} links to {target}"
            assert not anchor or anchor in anchors(page), f"{path.name} links to {target}, and {page.name} has no such heading"


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_lesson_has_its_parts():
    assert len(lessons.LESSONS) == 10
    for path in lessons.LESSONS:
        text, kinds = path.read_text(encoding="utf-8"), {block.kind for block in lessons.blocks(path)}
        assert {"prose", "code", "quote"} <= kinds and "minutes." in text and "![" in text and "$$" in text, path.name
        assert all(heading in text for heading in ("## The equation", "## The lines", "## Try it", "## What to try", "## Exercise")), path.name
        assert report.exercise_file(path.stem[:2]).name in text


@pytest.mark.parametrize("path", [*lessons.PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_commands_name_flags_that_exist(path):
    parser = make_parser()
    for command in lessons.commands(path):
        words = command.split()
        if words[1:3] == ["-m", "t1mini"] and "..." not in words:
            parsed, unknown = parser.parse_known_args(words[3:])
            assert not unknown and parsed.stage in STAGES, command
        elif words[1].endswith(".py"):
            assert (ROOT / words[1]).exists(), command


def test_notebooks_execute(tmp_path):
    make_notebooks = importlib.import_module("make_notebooks")
    assert make_notebooks.main(tmp_path) == 0
    written = sorted(tmp_path.glob("*.ipynb"))
    assert len(written) == len(lessons.LESSONS)
    for path in written:
        book = json.loads(path.read_text(encoding="utf-8"))
        assert book["nbformat"] == 4 and all({"cell_type", "id", "metadata", "source"} <= cell.keys() for cell in book["cells"])
        code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
        assert code[1:] == [block.text for block in lessons.blocks(TUTORIALS / f"{path.stem}.md") if block.kind == "code"]
    first = json.loads(written[2].read_text(encoding="utf-8"))
    if importlib.util.find_spec("nbclient"):
        import nbclient
        import nbformat

        nbclient.NotebookClient(nbformat.from_dict(first), timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    else:
        namespace = {"__name__": "__notebook__"}
        for cell in first["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), namespace)


def test_figures_come_from_committed_rows():
    experiments = importlib.import_module("experiments")
    for function in experiments.EXPERIMENTS:
        with (TUTORIALS / f"experiments/{function.__name__}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) >= 5 and all(float(row["x"]) >= 0 and float(row["y"]) >= -50 and row["line"] for row in rows)


def test_a_task_of_your_own_trains(tmp_path):
    own_task = importlib.import_module("own_task")
    before, after = own_task.main(str(tmp_path / "own"), traces=48, steps=1, problems=4)
    assert 0 <= before <= 1 and 0 <= after <= 1
    assert own_task.is_correct(own_task.Problem((9, 2, 5, 7)), "try 2 9 5 7 no answer 2 5 7 9") and not own_task.is_correct(
        own_task.Problem((9, 2)), "answer 9 2"
    )


# --- the checker: right and wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", "ab")
def test_right_answers_of_either_style_pass(style, tmp_path):
    for number in report.NUMBERS:
        shutil.copy(ROOT / f"tests/answers/{style}{number}.py", tmp_path / f"ex{number}.py")
    results = report.check_folder(tmp_path, report.NUMBERS, 30.0)
    failed = [(r.task, r.finding) for r in results if not r.finding.passed and "not found yet" not in r.finding.says]
    assert not failed and sum(r.finding.passed for r in results) == (len(results) if style == "a" else len(results) - 6)


def test_a_blank_stub_is_said_to_be_blank():
    results = report.check_folder(TUTORIALS / "exercises", report.NUMBERS, 30.0)
    assert not any(r.finding.passed for r in results)
    assert all("not written yet" in r.finding.says or "not found yet" in r.finding.says for r in results)
    assert {r.task for r in results} >= TASKS.keys() and len(TASKS) == 24


@pytest.mark.parametrize("name", TASKS)
def test_each_mistake_fails_with_its_own_message(name):
    task = TASKS[name]
    cases, expected = cases_of(task)
    assert judge(task, [outcome_of(task.expected, case) for case in cases]).passed or task.across  # draws are checked with real ones above
    assert len(task.mistakes) >= 8
    heard = set()
    for mistake in task.mistakes:
        finding = judge(task, mistaken(task, mistake))
        assert not finding.passed, mistake.says
        heard.add((mistake.says, finding.says))
    misheard = [pair for pair in heard if pair[0] != pair[1]]
    assert len(misheard) <= len(task.mistakes) / 20, misheard


@pytest.mark.parametrize("name", TASKS)
def test_zeros_flips_and_nothing_fail(name):
    task = TASKS[name]
    _, expected = cases_of(task)

    def spoil(value, how):
        if isinstance(value, (tuple, list)) and value and not isinstance(value[0], (str, int)):
            return tuple(spoil(item, how) for item in value)
        if isinstance(value, torch.Tensor) and value.dtype == torch.bool:
            return {"zeros": torch.zeros_like(value), "flip": ~value}[how]
        if isinstance(value, (torch.Tensor, float)):
            return {"zeros": 0 * value, "flip": -value - (0.5 if name in ("gumbel_sample",) else 0)}[how]
        return {"zeros": None, "flip": not value}[how]

    for how in ("zeros", "flip"):
        outcomes = [outcome | {"value": spoil(outcome["value"], how)} for outcome in expected]
        if name == "ema_update":
            outcomes = [outcome | {"args": ([spoil(x, how) for x in outcome["args"][0]], *outcome["args"][1:])} for outcome in expected]
        assert not judge(task, outcomes).passed
    nothing = judge(
        task,
        [
            outcome | {"value": None, "args": cases_of(task)[0][i].args if name == "ema_update" else outcome["args"]}
            for i, outcome in enumerate(expected)
        ],
    )
    assert not nothing.passed and nothing.says


@pytest.mark.parametrize("name", TASKS)
def test_mistakes_can_be_told_apart(name):
    """Any two that have different messages differ by a hundred tolerances in some case."""
    task = TASKS[name]
    cases, _ = cases_of(task)
    for i, one in enumerate(task.mistakes):
        for other in task.mistakes[:i]:
            if one.says != other.says and name not in ("gumbel_sample", "paired_bootstrap"):
                assert any(compare(task, case, a, b, 100 * TOLERANCE) for case, a, b in zip(cases, mistaken(task, one), mistaken(task, other))), (
                    one.says,
                    other.says,
                )


def test_the_librarys_functions_agree_with_what_is_expected():
    import t1mini.tasks.teacher
    import t1mini.inference_scaling
    import t1mini.loss
    import t1mini.penalties
    import t1mini.reference
    import t1mini.statistics

    found = {"extract_answer": extract_answer, "answers_equal": answers_equal}
    for module in (t1mini.tasks.teacher, t1mini.inference_scaling, t1mini.loss, t1mini.penalties, t1mini.reference, t1mini.statistics):
        found |= {name: getattr(module, name) for name in TASKS if hasattr(module, name)}
    assert len(found) == 17
    for name, function in found.items():
        outcomes = [outcome_of(function, case) for case in cases_of(TASKS[name])[0]]
        assert judge(TASKS[name], outcomes).passed, (name, judge(TASKS[name], outcomes))


# --- the checker: hostile submissions --------------------------------------------------------------------------------------

RIGHT = "def is_overlong(length, finished, max_new_tokens):\n    return length >= max_new_tokens and not finished\n"
HOSTILE = {
    "an endless loop": ("while True:\n        pass", "no answer within"),
    "sys.exit": ("import sys; sys.exit(0)", "sys.exit"),
    "os._exit": ("import os; os._exit(0)", "ended by itself"),
    "a crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "much memory": ("x = bytearray(200 * 2**30)", "MemoryError"),
    "deep recursion": ("return penalised_reward(reward, *p)", "RecursionError"),
    "a flood of output": ("while True:\n        print('x' * 10**6)", "OSError"),
    "its own result": ("open('0.npz', 'w').write('1'); import os; os._exit(0)", "cannot be read"),
    "a pipe for a result": ("import os; os.mkfifo('0.npz'); os._exit(0)", "ended by itself"),
    "an odd object": ("return lambda: 1", "returns function"),
    "an odd tensor": ("import torch; return torch.ones(2, dtype=torch.complex64)", "returns tensor"),
    "the library's answer": ("from t1mini.penalties import penalised_reward as p1; return p1(reward, *p)", "t1mini.penalties.penalised_reward"),
    "the library's answer, called": ("import t1mini.penalties as m; return getattr(m, 'penalised_' + 'reward')(reward, *p)", "library's own answer"),
    "the library's source": ("exec(open('t1mini/penalties.py').read())", "library's source"),
    "the checker": ("import checking.ex09", "the checker"),
    "an error that cannot be shown": ("raise ValueError('\\ud83d')", "ValueError"),
    "an exception at the end": ("import atexit; atexit.register(print); return 5", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_costs_only_its_own_check(name, tmp_path):
    body, says = HOSTILE[name]
    path = tmp_path / "ex09.py"
    path.write_text(f"{RIGHT}\n\ndef penalised_reward(reward, *p):\n    {body}\n", encoding="utf-8")
    tasks = [TASKS["is_overlong"], TASKS["penalised_reward"]]
    right, hostile = (report.check_task(path, task, 3.0)[0] for task in tasks)
    assert right.passed or name in ("the library's source", "the checker"), right  # these make the whole file suspect
    assert not hostile.passed and says in hostile.says, hostile


@pytest.mark.parametrize(
    "text", ["def penalised_reward(", "x = " + "-" * 90_000 + "1", "\0", "", "raise KeyError('at import')", "import sys; sys.exit()"]
)
def test_a_file_that_cannot_be_run_fails_and_no_more(text, tmp_path):
    path = tmp_path / "ex09.py"
    path.write_text(text)
    finding, _ = report.check_task(path, TASKS["penalised_reward"], 10.0)
    assert not finding.passed and finding.says


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found by /proc")
def test_no_process_is_left(tmp_path):
    path = tmp_path / "ex09.py"
    path.write_text(
        "import subprocess\n" + RIGHT.replace("return", f"subprocess.Popen(['sleep', '{os.getpid()}.5'], start_new_session=True); return")
    )
    assert report.check_task(path, TASKS["is_overlong"], 10.0)[0].passed
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(f"{os.getpid()}.5".encode() in line for line in running)


# --- for teachers ----------------------------------------------------------------------------------------------------------


def test_the_gradescope_archive_writes_valid_results(tmp_path):
    archive = tmp_path / "autograder.zip"
    assert subprocess.run([sys.executable, "tutorials/make_autograder.py", "05", "09", "--out", str(archive)], cwd=ROOT).returncode == 0
    with zipfile.ZipFile(archive) as content:
        assert {"setup.sh", "run_autograder"} <= set(content.namelist())
        assert content.getinfo("run_autograder").external_attr >> 16 & 0o111
        content.extractall(tmp_path / "source")
    (tmp_path / "submission").mkdir()
    shutil.copy(ROOT / "tests/answers/a09.py", tmp_path / "submission/ex09_penalties.py")
    environment = os.environ | {"AUTOGRADER": str(tmp_path), "PYTHON": sys.executable}
    assert subprocess.run(["bash", str(tmp_path / "source/run_autograder")], env=environment).returncode == 0
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert results["score"] == 3 and results["stdout_visibility"] == "hidden" and len(results["tests"]) == 6
    for test in results["tests"]:
        assert {"name", "score", "max_score", "status", "output", "visibility"} <= test.keys() and test["status"] in ("passed", "failed")
        assert test["score"] == (1 if test["name"].startswith("09") else 0) and test["max_score"] == 1


def test_a_class_is_graded_whatever_is_in_it(tmp_path, capsys):
    for student, text in {"ann": (ROOT / "tests/answers/a05.py").read_text(), "bob": "import os; os._exit(3)", "cyd": "", "dan": None}.items():
        (tmp_path / "class" / student).mkdir(parents=True)
        if text is not None:
            (tmp_path / f"class/{student}/ex05_rollouts.py").write_text(text)
    grade_folder = importlib.import_module("grade_folder")
    target = tmp_path / "grades.csv"
    for _ in range(2):  # the second time there is nothing left to do
        assert grade_folder.main([str(tmp_path / "class"), str(target), "05"]) == 0
        rows = list(csv.DictReader(target.open(newline="")))
        assert [(row["student"], row["score"], row["of"]) for row in rows] == [
            ("ann", "3", "3"),
            ("bob", "0", "3"),
            ("cyd", "0", "3"),
            ("dan", "0", "3"),
        ]
    assert grade_folder.main([str(tmp_path / "nowhere"), str(target)]) == 2 and "grade_folder.py: want" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["11"], ["06", "--submission", "nowhere.py"], ["all", "--submission", "README.md"], []])
def test_a_mistake_at_the_command_line_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        report.main(words)
    assert ended.value.code == 2 and "check.py" in capsys.readouterr().err


def test_results_are_written_for_gradescope_from_the_command_line(tmp_path, capsys):
    assert report.main(["09", "--submission", str(ROOT / "tests/answers/b09.py"), "--json", str(tmp_path / "results.json")]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 3 and "3 of 3 passed" in capsys.readouterr().out


# --- the bug hunt ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", bugs.BUGS)
def test_a_bug_shows_and_its_metrics_are_there(number):
    finding, _ = bugs.mends(number, bugs.BUGS[number].broken, 30.0)
    assert not finding.passed and "still differs from the sound one" in finding.says
    for name in (number, 0):
        with (TUTORIALS / f"bugs/{name:02d}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) >= 20 and rows[0].keys() == METRICS.keys()


def test_the_hunt_is_answered_by_cause_and_line(tmp_path):
    answers = {1: ("sign", "return objective"), 2: ("rows", "x"), 3: "verifier", 4: ("end of the token", "x")}
    (tmp_path / "ex10.py").write_text(f"FOUND = {answers}\n")
    says = [bugs.BugTask(number).check(tmp_path / "ex10.py", 30.0)[0].says for number in (1, 2, 3, 4, 5)]
    assert (
        "the cause is right" in says[0]
        and "it is not 'rows'" in says[1]
        and "two texts" in says[2]
        and "none of the causes" in says[3]
        and "not found yet" in says[4]
    )


def test_a_broken_copy_is_written_and_a_mistake_is_told(tmp_path, capsys):
    bug_hunt = importlib.import_module("bug_hunt")
    assert bug_hunt.main(["3", str(tmp_path / "hunt")]) == 0
    assert bugs.BUGS[3].broken in (tmp_path / "hunt/t1mini" / bugs.BUGS[3].file).read_text()
    assert bug_hunt.main(["3", str(tmp_path / "hunt")]) == 2 and bug_hunt.main(["99", "x"]) == 2 and bug_hunt.main([]) == 2
    assert bug_hunt.main(["list"]) == 0 and "end token" in capsys.readouterr().out


def test_the_time_limit_is_that_of_the_process():
    found, ended, _ = sandbox.outcomes(ROOT / "tests/answers/a09.py", "is_overlong", [], [((8, False, 8), {}, ())], 10.0)
    assert ended == "" and found[0]["value"] is True
