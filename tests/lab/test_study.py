"""Every study runs, small; runs are shared, rows are made once, figures are drawn, and contrasts find what is there."""

import csv
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from t1mini.lab import contrasts
from t1mini.lab import study as studies
from t1mini.__main__ import main
from t1mini.lab.contrasts import CONTRASTS, Contrast, differ, estimate, steeper, verdict
from t1mini.lab.study import STUDIES, StudyConfig, digits, recoveries, stage_configs
from t1mini.tasks.countdown import Problem, load_problems
from t1mini.reward import judge

ROOT = Path(__file__).parents[2]
SMALL = ["--traces", "48", "--steps", "1", "--prompts", "2", "--problems", "3", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def at_home():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture(scope="module")
def all_studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    assert main(["study", "all", *SMALL, "--seeds", "0", "--out", str(folder / "csv"), "--work", str(folder / "runs")]) == 0
    return folder


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_leaves_a_row_a_variant_within_its_ranges(all_studies, name):
    found = rows(all_studies / f"csv/{name}.csv")
    assert [row["variant"] for row in found] == list(STUDIES[name].variants)
    for row in found:
        assert all(0 <= float(row[column]) <= 1 for column in ("pass@1", "repetitive", "overlong", "garbled", "missed_first", "recovered", "share_of_rl"))
        assert row["problems"] == "3" and len(row["correct"]) == 3 and float(row["seconds"]) > 0 and row["torch"]
        assert float(row["pass@1"]) == pytest.approx(contrasts.problem_scores(row).mean(), abs=1e-6)
        assert len(json.loads(row["curve"])) == len(json.loads(row["budgets"])) == len(row["curve_correct"].split())
        assert json.loads(row["sft"])["traces"] == 48 and (float(row["share_of_rl"]) > 0) == bool(row["rl"])
        assert not row["rl"] or -1 <= float(row["last_reward"]) <= 1


def test_runs_are_shared_and_rows_are_made_once(all_studies, monkeypatch, tmp_path):
    shared = {row["key"] for name in ("thinking-budget", "start", "sizes") for row in rows(all_studies / f"csv/{name}.csv")}
    assert len(shared) < sum(len(STUDIES[name].variants) for name in ("thinking-budget", "start", "sizes"))
    assert len(list((all_studies / "runs").glob("sft-*/final"))) == 4  # as the preset, clean solutions, small, large
    before = {path: path.read_bytes() for path in (all_studies / "csv").iterdir()}
    monkeypatch.setattr(studies, "measure", None)  # nothing is left to measure
    assert main(["study", "all", *SMALL, "--seeds", "0", "--out", str(all_studies / "csv"), "--work", str(tmp_path / "elsewhere")]) == 0
    assert {path: path.read_bytes() for path in (all_studies / "csv").iterdir()} == before and not any((tmp_path / "elsewhere").iterdir())


def test_a_row_of_the_same_settings_is_taken_over_with_its_steps(all_studies):
    of = lambda name, label: [row for row in rows(all_studies / f"csv/{name}.csv") if row["variant"] == label]
    (own,), (borrowed,) = of("thinking-budget", "100% of RL"), of("temperature", "temperature 1.2")
    assert {**own, "study": "", "variant": ""} == {**borrowed, "study": "", "variant": ""} and borrowed["study"] == "temperature"
    assert [row["reward"] for row in of("temperature-steps", "temperature 1.2")] == [row["reward"] for row in of("thinking-budget-steps", "100% of RL")] != []


def test_four_numbers_have_problems_rows_and_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["study", "difficulty", *SMALL, "--seeds", "0", "--numbers", "4", "--work", "runs"]) == 0
    found = rows(tmp_path / "tutorials/studies/tiny-4/difficulty.csv")
    assert [row["variant"] for row in found] == list(STUDIES["difficulty"].variants)
    assert [json.loads(row["sft"])["data"] for row in found] == ["data-4"] * 2
    assert {len(problem.numbers) for problem in load_problems(tmp_path / "runs/data-4/test.jsonl")} == {4}
    hard, = (tmp_path / "runs").glob("sft-*-hard.jsonl")
    assert {len(problem.numbers) for problem in load_problems(hard)} == {4}


def test_a_row_of_other_settings_is_left_alone(all_studies, capsys):
    path = all_studies / "csv/credit.csv"
    before = path.read_bytes()
    words = ["study", "credit", *SMALL, "--prompts", "3", "--seeds", "0", "--out", str(path.parent), "--work", str(all_studies / "runs")]
    assert main(words) == 2 and f"{path} has a row of 'leave-one-out' with seed 0 and other settings" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello\n", b"variant,reward\nx,1\n", b"\xff\xfe\x00"], ids=str)
def test_a_file_that_is_no_studys_is_left_alone(content, tmp_path, capsys):
    for name in ("start", "mine"):
        path = tmp_path / f"{name}.csv"
        path.write_bytes(content)
        assert main(["study", "start", *SMALL, "--out", str(tmp_path), "--work", str(tmp_path / "runs")]) == 2
        assert f"{path} does not hold a study's rows" in capsys.readouterr().err and path.read_bytes() == content
        path.unlink()


def test_another_method_is_another_row(monkeypatch):
    keys = lambda: [config.out for config in stage_configs(STUDIES["start"], STUDIES["start"].variants["clean solutions, RL"], StudyConfig())[:2]]
    before = keys()
    assert before == keys()
    monkeypatch.setattr(studies, "METHOD", studies.METHOD + 1)
    assert not set(before) & set(keys())


def test_what_is_there_is_printed_and_drawn(all_studies, tmp_path, capsys):
    assert main(["plot", *STUDIES, "--studies", str(all_studies / "csv"), "--text"]) == 0
    printed = capsys.readouterr().out
    assert all(variant in printed for study in STUDIES.values() for variant in study.variants)
    assert "not told apart" in printed and "needs rows that are not there" in printed  # one seed gives no interval of lengths
    words = ["plot", *STUDIES, "--studies", str(all_studies / "csv"), "--out", str(tmp_path / "figures")]
    if importlib.util.find_spec("matplotlib"):
        assert main(words) == 0
        assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == set(STUDIES)
    else:
        assert main(words) == 2 and "studies can be read with --text" in capsys.readouterr().err


def test_every_contrast_names_variants_of_its_study():
    assert CONTRASTS.keys() == STUDIES.keys()
    for name, found in CONTRASTS.items():
        assert {variant for contrast in found for _, variant, _ in contrast.terms} <= STUDIES[name].variants.keys()
        assert len({contrast.says for contrast in found}) == len(found)


def made(variant: str, seed: int, correct: np.ndarray, curve: list[np.ndarray] = (), **figures) -> dict:
    return {"variant": variant, "seed": str(seed), "samples": "4", "correct": digits(correct), "budgets": "[48, 192]",
            "curve_correct": " ".join(map(digits, curve)), **{name: str(x) for name, x in figures.items()}}


def test_contrasts_find_a_difference_that_is_there_and_none_that_is_not():
    rng = np.random.default_rng(0)
    score = lambda p: (rng.random((300, 4)) < p).astype(int)
    found = [made(name, seed, score(p), length=100 * p + rng.normal()) for name, p in (("good", 0.7), ("poor", 0.5), ("same", 0.5)) for seed in range(3)]
    value, low, high, seeds = estimate(differ("good", "poor"), found)
    assert 0.1 < low < value < high < 0.3 and seeds == 3 and verdict((value, low, high, seeds)) == "more"
    assert verdict(estimate(differ("poor", "good"), found)) == "less" and verdict(estimate(differ("same", "poor"), found)) == "not told apart"
    assert estimate(differ("good", "poor", "length"), found)[0] == pytest.approx(20, abs=3)
    assert estimate(differ("good", "missing"), found) is None and estimate(differ("good", "poor", "length"), found[::3]) is None


def test_a_steeper_curve_is_a_difference_of_differences():
    flat, rising = [np.ones((50, 4), int)] * 2, [np.ones((50, 4), int) * (np.arange(4) < 1), np.ones((50, 4), int)]
    found = [made(name, 0, curve[1], curve) for name, curve in (("early", flat), ("late", rising))]
    assert estimate(steeper("late", "early", 48, 192), found)[:3] == pytest.approx((0.75, 0.75, 0.75))
    assert estimate(Contrast("", ((1, "late", 192), (-1, "late", 48))), found)[0] == pytest.approx(0.75)


def test_recoveries_by_hand():
    problem = Problem((3, 4, 11), 77)
    texts = ["3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11",  # at once
             "3 + 11 = 14 * 4 = 56 low 3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11",  # after a miss
             "3 + 11 = 14 * 4 = 56 low stop answer none", ""]
    verdicts = [judge("countdown", problem, text, [0] * 9, finished=True, max_new_tokens=50, repeat_limit=4) for text in texts]
    assert recoveries([problem], [verdicts]) == (0.5, 0.5)
    assert math.isfinite(recoveries([problem], [verdicts[:1]])[1])
