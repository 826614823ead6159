"""What the findings and the README say stands in committed rows, and `plot --text` makes it from them."""

import json
import re
from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.runs.folder import read_rows
from t1mini.statistics import t_interval

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "tutorials/findings"
NUMBER = r"[+-]?\d+(?:\.\d+)?"
INTERVAL = rf"(?<=(.{{60}}))\(({NUMBER}) to ({NUMBER})(?![\d.]* minutes)"  # its figure stands before it
PAGES = ("README.md", "tutorials/real_model.md", "tutorials/after_t1.md", "tutorials/findings/README.md")
ELSEWHERE = {  # said, and made by no row alone
    "-3.0 to +0.8",  # KL when the reward reaches 0.3, from oversampling-steps.csv
    "-1.1 to +5.4", "+1.9 to +9.5", "+3.6 to +12.0", "19.5 to 25.6",  # paired, by `scale`
    "+5.0 to +12.8", "-1.1 to +18.7", "-5.9 to +10.2", "-2.6 to +10.6",  # with the first control
    "+11.2 to +18.8",  # with the SFT of before
    "30 to 36", "38 to 41",  # DAPO's own
}


def near(said, figure):
    """Whether a number as written is `figure` to its last digit."""
    digits = len(said.partition(".")[2])
    return abs(float(said) - figure) <= 0.6 * 10**-digits


@pytest.fixture
def made(capsys, monkeypatch):
    """Every figure with its interval that the committed rows make: of studies, and of the language model."""
    monkeypatch.chdir(ROOT)
    for folder in ("", "tiny-4", "tiny-150", "gpu-4", "reset"):
        assert main(["plot", "all", "--text", "--studies", str(FINDINGS / "studies" / folder)]) == 0
    made = [tuple(map(float, m.groups())) for m in re.finditer(rf"({NUMBER})(?: points)? \(({NUMBER}) to ({NUMBER});", capsys.readouterr().out)]
    for row in [*read_rows(FINDINGS / "real_model.csv"), *read_rows(FINDINGS / "real_model_controls.csv")]:
        made += [tuple(float(row[name]) for name in names) for names in (("pass@1", "low", "high"), ("gain", "from", "to")) if row[names[0]]]
    gains = [float(row["gain"]) for row in read_rows(FINDINGS / "real_model.csv")
             if (row["problems"], row["policy"]) == ("svamp", "rl") and row["seed"].isdigit()]
    made.append((sum(gains) / len(gains), *t_interval(gains)))
    made += [(-x, -high, -low) for x, low, high in made]  # A - B as B - A
    return made + [tuple(100 * x for x in figures) for figures in made]  # shares in percent


@pytest.mark.parametrize("page", PAGES)
def test_every_figure_with_an_interval_is_made_from_the_rows(page, made):
    text = " ".join((ROOT / page).read_text("utf-8").replace("**", "").split())
    said = re.findall(INTERVAL, text)
    known = lambda before, low, high: any(
        near(low, figures[1]) and near(high, figures[2]) and any(near(x, figures[0]) for x in re.findall(NUMBER, before))
        for figures in made)
    assert len(said) >= {"README.md": 1, "tutorials/after_t1.md": 8}.get(page, 50) and len(made) > 100
    assert {f"{low} to {high}" for before, low, high in said if not known(before, low, high)} <= ELSEWHERE


def test_the_table_names_the_commits_that_made_the_rows():
    lines = [line for line in (FINDINGS / "README.md").read_text("utf-8").splitlines() if re.match(r"\| F\d", line)]
    for line in lines:
        last = line.rsplit("|", 2)[1]
        files = [file for name in re.findall("`(.+?)`", last) for file in (FINDINGS / "studies").glob(f"**/{name}.csv")
                 if file.parent.name in ("studies", *name.split("/")[:-1]) or "four" in last]
        made = {(row["commit"][:7], row["torch"][:4], row["device"][:3]) for file in files for row in read_rows(file)}
        assert {commit for commit, *_ in made} == set(re.findall(r"\b[0-9a-f]{7}\b", last)), line[:6]
        assert any(torch == "2.11" and device == "cpu" for _, torch, device in made) == ("(c)" in last), line[:6]
        assert any(device != "cpu" for *_, device in made) == ("(g)" in last), line[:6]


@pytest.mark.parametrize("seed", range(3))
def test_the_readmes_table_is_that_of_the_runs(seed):
    row = next(line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith(f"| {seed} |"))
    run = [json.loads((FINDINGS / f"results/train-tiny-{seed}/{name}.json").read_text()) for name in ("evaluation", "summary")]
    run = run[0] | {"seconds": run[1]["seconds"]}
    said = re.findall(rf"({NUMBER}) \(({NUMBER}) - ({NUMBER})\)", row)
    assert len(said) == 3
    for triple, name in zip(said, ("sft", "half", "rl")):
        assert all(map(near, triple, (100 * x for x in (run[name]["pass@1"], *run[name]["interval"])))), name
    gain, minutes = re.search(rf"\| ({NUMBER}) \| ({NUMBER}) \|$", row).groups()
    assert near(gain, 100 * (run["rl"]["pass@1"] - run["sft"]["pass@1"])) and near(minutes, run["seconds"]["total"] / 60)
