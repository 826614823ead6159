"""The checker passes what is right, names what is wrong, and survives what it is given."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from t1mini.metrics import METRICS
from t1mini.runs.folder import read_rows

ROOT = Path(__file__).parents[2]
SOLUTIONS = Path(__file__).parent / "solutions"
sys.path[:0] = [str(ROOT / "tutorials"), str(ROOT / "tutorials/teachers")]

from checking import bug_hunt, bugs, report  # noqa: E402
from checking.diagnose import judge  # noqa: E402
from checking.tasks import TOLERANCE, cases_of, compare, mistaken, outcome_of  # noqa: E402

TASKS = {task.name: task for n in report.NUMBERS for task in report.tasks_of(n) if hasattr(task, "cases")}
LIBRARY = ["tasks.teacher", "inference_scaling", "loss", "penalties", "reference", "statistics", "verifier"]


def pytest_generate_tests(metafunc):
    """Every task and bug with --whole, else some of them."""
    for name, cases, step in (("task", TASKS.values(), 4), ("bug", bugs.BUGS, 4)):
        if name in metafunc.fixturenames:
            chosen = list(cases)[:: 1 if metafunc.config.getoption("--whole") else step]
            metafunc.parametrize(name, chosen, ids=lambda case: getattr(case, "name", str(case)))


@pytest.mark.parametrize("style", "ab")
def test_right_answers_of_either_style_pass(style, tmp_path):
    for number in report.NUMBERS:
        shutil.copy(SOLUTIONS / f"{style}{number}.py", tmp_path / f"ex{number}.py")
    results = report.check_folder(tmp_path, report.NUMBERS, 30.0)
    failed = [r.finding.says for r in results if not r.finding.passed]
    assert all("not found yet" in says for says in failed) and len(failed) == (0 if style == "a" else 7)


def test_a_blank_stub_is_said_to_be_blank():
    results = report.check_folder(report.EXERCISES, report.NUMBERS, 30.0)
    assert {r.task for r in results} >= TASKS.keys() and len(TASKS) == 28
    assert all("written yet" in r.finding.says or "found yet" in r.finding.says for r in results)


def test_each_mistake_fails_with_its_own_message(task):
    """And any two of other messages differ by a hundred tolerances in some case."""
    cases, _ = cases_of(task)
    right = judge(task, [outcome_of(task.expected, case) for case in cases])
    assert right.passed or task.across  # draws are checked with real ones above
    heard = {(mistake.says, judge(task, mistaken(task, mistake))) for mistake in task.mistakes}
    assert len(task.mistakes) >= 8 and not any(finding.passed for _, finding in heard)
    misheard = [(says, finding.says) for says, finding in heard if finding.says != says]
    assert len(misheard) <= len(task.mistakes) / 20, misheard
    for i, one in enumerate(task.mistakes if task.name not in ("gumbel_sample", "paired_bootstrap") else ()):
        for other in (other for other in task.mistakes[:i] if other.says != one.says):
            rows = zip(cases, mistaken(task, one), mistaken(task, other))
            assert any(compare(task, *row, 100 * TOLERANCE) for row in rows), (one.says, other.says)


def spoil(value, how):
    if isinstance(value, (tuple, list)) and value and not isinstance(value[0], (str, int)):
        return tuple(spoil(item, how) for item in value)
    if isinstance(value, (torch.Tensor, float)):
        logical = isinstance(value, torch.Tensor) and value.dtype == torch.bool
        return 0 * value if how == "zeros" else ~value if logical else -value
    return not value if how == "flip" else None


def test_zeros_flips_and_nothing_fail(task):
    cases, expected = cases_of(task)
    for how in ("zeros", "flip"):
        outcomes = [outcome | {"value": spoil(outcome["value"], how)} for outcome in expected]
        if task.in_place:
            outcomes = [o | {"args": (list(spoil(o["args"][0], how)), *o["args"][1:])} for o in expected]
        assert not judge(task, outcomes).passed
    kept = [case.args if task.in_place else outcome["args"] for case, outcome in zip(cases, expected)]
    nothing = judge(task, [outcome | {"value": None, "args": args} for outcome, args in zip(expected, kept)])
    assert not nothing.passed and nothing.says


def test_the_librarys_functions_agree_with_what_is_expected_and_can_be_blocked():
    for module, _, name in (answer.rpartition(".") for task in TASKS.values() for answer in task.answers):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
    modules = [importlib.import_module(f"t1mini.{name}") for name in LIBRARY]
    found = {name: getattr(module, name) for module in modules for name in TASKS if hasattr(module, name)}
    assert len(found) == 17
    del found["answers_equal"]  # reads more than the exercise: 1e3 is 1000, and Paris is paris
    for name, function in found.items():
        finding = judge(TASKS[name], [outcome_of(function, case) for case in cases_of(TASKS[name])[0]])
        assert finding.passed, (name, finding)


@pytest.mark.parametrize("text, says", [
    ("def rloo_advantages(rewards):\n    rewards.data -= rewards.mean(-1, keepdim=True)\n    return rewards",
     ("own reward", "also changes its argument number 1")),
    ("def rloo_advantages(rewards):\n    k, own = rewards.shape[-1], rewards.clone()\n    rewards.data.zero_()\n"
     "    return own - (own.sum(-1, keepdim=True) - own) / (k - 1 or {}[k])", ("KeyError", "argument number 1")),
    ("def answers_equal(a, b):\n    a, b = (x.translate({36: None, 44: None, 32: None}) for x in (a, b))\n"
     "    try:\n        return a == b or eval(a, {'__builtins__': {}}) == eval(b, {'__builtins__': {}})\n"
     "    except Exception:\n        return False", ("frac", "eval runs anything")),
    ("def accuracy_at(budget, lengths, finished, own, forced):\n    cut = ~finished | (lengths > budget)\n"
     "    own[cut] = forced[cut]\n    return own.mean()", ("changes its argument number 4",)),
], ids=["data", "only data", "eval", "numpy"])
def test_a_second_mistake_is_named_beside_the_first(text, says, tmp_path):
    (tmp_path / "ex.py").write_text(text)
    finding, _ = report.check_task(tmp_path / "ex.py", TASKS[text.split("(")[0].removeprefix("def ")], 30.0)
    assert not finding.passed and all(words in finding.says for words in says), finding.says


@pytest.mark.parametrize("text, says", [
    ("def ema_update(ref, new, decay):\n    if not 0 <= decay <= 1:\n        raise ValueError\n"
     "    for r, p in zip(ref, new):\n        r.mul_(decay).add_(p.requires_grad_(False), alpha=1 - decay)",
     "requires_grad_"),
    ("def hard_problems(correct, low, high):\n    share = correct.double().mean(1)\n"
     "    return ((low <= share) & (share <= high)).nonzero()[:, 0]", "it returns Tensor, it should be list"),
    ("def rloo_advantages(rewards):\n    return rewards.view(7, -1)", "RuntimeError: shape '[7, -1]'"),
], ids=["gradient", "tensor", "another RuntimeError"])
def test_what_only_its_kind_or_words_tell_apart_is_named(text, says, tmp_path):
    (tmp_path / "ex.py").write_text(text)
    finding, _ = report.check_task(tmp_path / "ex.py", TASKS[text.split("(")[0].removeprefix("def ")], 30.0)
    assert not finding.passed and says in finding.says, finding.says


@pytest.mark.parametrize("name, text", {
    "signal_fraction": "    kinds = torch.tensor([-1, 0, 1])\n    count = (rewards[..., None] == kinds).sum(1).amax(-1)\n"
                       "    return 1 - (count == rewards.shape[1]).double().mean()",
    "hard_problems": "    n = rewards.shape[1]\n    return [i for i, row in enumerate(rewards) if low * n <= row.sum() <= high * n]",
}.items())
def test_what_the_docstring_leaves_open_is_not_refused(name, text, tmp_path):
    more = ", low, high" if name == "hard_problems" else ""
    (tmp_path / "ex.py").write_text(f"import torch\ndef {name}(rewards{more}):\n{text}")
    finding, _ = report.check_task(tmp_path / "ex.py", TASKS[name], 30.0)
    assert finding.passed, finding.says


RIGHT = "def is_overlong(length, finished, limit):\n    return length >= limit and not finished\n"
BODIES, FILES = json.loads((SOLUTIONS.parent / "hostile.json").read_text())
HOSTILE = {f"{RIGHT}def penalised_reward(reward, *p):\n    {body}\n": says for body, says in BODIES.items()}
HOSTILE |= dict.fromkeys([*FILES, "x = " + "-" * 90_000 + "1"], "")


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text.removeprefix(RIGHT)[-40:])
def test_a_hostile_submission_costs_only_its_own_check(text, tmp_path):
    path, says = tmp_path / "ex09.py", HOSTILE[text]
    path.write_text(text, encoding="utf-8")
    hostile, _ = report.check_task(path, TASKS["penalised_reward"], 1.0 if "within" in says else 30.0)
    assert not hostile.passed and hostile.says and says in hostile.says
    if RIGHT in text and says not in ("library's source", "the checker"):  # which make the whole file suspect
        assert report.check_task(path, TASKS["is_overlong"], 30.0)[0].passed


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found by /proc")
def test_no_process_is_left(tmp_path):
    path, mark = tmp_path / "ex09.py", f"{os.getpid()}.5"
    spawn = f"subprocess.Popen(['sleep', '{mark}'], start_new_session=True); return"
    path.write_text("import subprocess\n" + RIGHT.replace("return", spawn))
    assert report.check_task(path, TASKS["is_overlong"], 30.0)[0].passed
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not any(mark.encode() in line for line in running)


def test_the_gradescope_archive_writes_valid_results(tmp_path):
    archive = tmp_path / "autograder.zip"
    importlib.import_module("make_autograder").main(["05", "09", "--out", str(archive)])
    with zipfile.ZipFile(archive) as content:
        assert {"setup.sh", "run_autograder", "t1mini/tasks/teacher.py"} <= set(content.namelist())
        assert content.getinfo("run_autograder").external_attr >> 16 & 0o111
        content.extractall(tmp_path / "source")
    (tmp_path / "submission").mkdir()
    shutil.copy(SOLUTIONS / "a09.py", tmp_path / "submission/ex09_penalties.py")
    environment = os.environ | {"AUTOGRADER": str(tmp_path), "PYTHON": sys.executable}
    subprocess.run(["bash", str(tmp_path / "source/run_autograder")], env=environment, check=True)
    results = json.loads((tmp_path / "results/results.json").read_text())
    assert results["score"] == 4 and results["stdout_visibility"] == "hidden" and len(results["tests"]) == 8
    for test in results["tests"]:
        assert (test["score"], test["status"]) == ((1, "passed") if "09" in test["name"] else (0, "failed"))
        assert test["max_score"] == 1 and {"output", "visibility"} <= test.keys()


def test_a_class_is_graded_whatever_is_in_it(tmp_path, capsys):
    three_of_four = (SOLUTIONS / "a05.py").read_text() + "\ngroup = lambda *x: __import__('os')._exit(3)\n"
    for student, file, text in (("ann", "work/EX05_Rollouts.py", three_of_four), ("bob", "notes", "")):
        (tmp_path / "class" / student / file).parent.mkdir(parents=True)
        (tmp_path / "class" / student / file).write_text(text)
    grade_folder, target = importlib.import_module("grade_folder"), tmp_path / "grades.csv"
    for _ in range(2):  # the second time there is nothing left to do
        assert grade_folder.main([str(tmp_path / "class"), str(target), "05"]) == 0
        rows = [(row["student"], row["score"], row["of"]) for row in read_rows(target)]
        assert rows == [("ann", "3", "4"), ("bob", "0", "4")]
        notes = [row["note"] for row in read_rows(target)]
        assert notes == ["crashed: 05 group", "no file: 05 pass_at_k, 05 group, 05 signal_fraction, 05 hard_problems"]
    feedback = (tmp_path / "grades-feedback/ann.txt").read_text()
    assert "05 pass_at_k: passed" in feedback and "05 group: the process ended by itself with code 3" in feedback
    assert grade_folder.main([str(tmp_path / "nowhere"), str(target)]) == 2
    assert "grade_folder.py: want" in capsys.readouterr().err


def test_the_command_line_refuses_mistakes_and_writes_results_for_gradescope(tmp_path, capsys):
    for words in ("11", "06 --submission nowhere.py", f"all --submission {__file__}", ""):
        with pytest.raises(SystemExit) as ended:
            report.main(words.split())
        assert ended.value.code == 2 and "check.py" in capsys.readouterr().err
    target = tmp_path / "results.json"
    assert report.main(["09", "--submission", str(SOLUTIONS / "b09.py"), "--json", str(target)]) == 0
    assert json.loads(target.read_text())["score"] == 4 and "4 of 4 passed" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["7", "07", "007", "ex07", "ex7", "ex07_entropy.py", "tutorials/exercises/ex07_entropy.py"])
def test_an_exercise_has_many_names(text):
    assert report.number_of(text) == "07" and report.number_of("all") == "all" and report.number_of("10") == "10"


@pytest.mark.parametrize("text", ["11", "0", "nosuch", "example", "-7"])
def test_another_name_is_one_line(text, capsys):
    with pytest.raises(SystemExit) as ended:
        report.main(["--", text])
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and printed.count("\n") == 1 and "choose from '01', '02'" in printed


@pytest.mark.parametrize("words", ["7", "--help"])
def test_a_closed_pipe_is_no_traceback(words):
    checker = subprocess.Popen([sys.executable, str(ROOT / "tutorials/check.py"), words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checker.stdout.close()
    assert checker.stderr.read() == b"" and checker.wait() in (0, 1)


def test_every_bug_can_be_made_and_its_metrics_are_there(tmp_path):
    for number in (0, *bugs.BUGS):
        assert not number or bugs.make_broken(number, tmp_path / str(number)).exists()
        rows = read_rows(bug_hunt.METRICS / f"{number:02d}.csv")
        assert len(rows) >= 20 and rows[0].keys() == METRICS.keys()


def test_a_bug_shows(bug):
    finding, _ = bugs.mends(bug, bugs.BUGS[bug].broken, 60.0)
    assert not finding.passed and "still differs from the sound one" in finding.says


def test_the_hunt_is_answered_by_cause_and_line(tmp_path):
    path = tmp_path / "ex10.py"
    path.write_text('FOUND = {1: ("sign", "return 0"), 2: ("rows", "x"), 3: "verifier", 4: ("?", "x")}\n')
    says = ["the cause is right", "it is not 'rows'", "two texts", "none of the causes", "not found yet"]
    assert all(words in bugs.BugTask(bug).check(path, 30.0)[0].says for bug, words in enumerate(says, 1))


def test_a_broken_copy_is_written(tmp_path, capsys):
    assert bug_hunt.main(["3", str(tmp_path / "hunt")]) == 0
    assert bugs.BUGS[3].broken in (tmp_path / "hunt/t1mini" / bugs.BUGS[3].file).read_text()
    for words in (["3", str(tmp_path / "hunt")], ["99", "x"], []):
        assert bug_hunt.main(words) == 2
    assert bug_hunt.main(["list"]) == 0 and "end token" in capsys.readouterr().out
