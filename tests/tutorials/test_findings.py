"""What the findings and the README say stands in committed rows, and `plot --text` makes it from them."""

import json
import re
from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.runs.folder import read_rows

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "tutorials/findings"
NUMBER = r"[+-]?\d+(?:\.\d+)?"
TRIPLE = rf"({NUMBER})(?: (?:points|tokens))?[^()0-9]{{0,45}}\(({NUMBER}) to ({NUMBER})"


def near(said, figure):
    """Whether a number as written is `figure` to its last digit."""
    digits = len(said.partition(".")[2])
    return abs(float(said) - figure) <= 0.6 * 10**-digits


def test_every_interval_of_the_table_is_made_from_the_rows(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    for folder in ("", "tiny-4", "gpu-4"):
        assert main(["plot", "all", "--text", "--studies", str(FINDINGS / "studies" / folder)]) == 0
    made = [tuple(map(float, m.groups())) for m in re.finditer(rf"({NUMBER})(?: points)? \(({NUMBER}) to ({NUMBER});", capsys.readouterr().out)]
    made += [(-x, -high, -low) for x, low, high in made]  # A - B as B - A
    made += [tuple(100 * x for x in figures) for figures in made]  # shares in percent
    rows = [line for line in (FINDINGS / "README.md").read_text("utf-8").splitlines() if re.match(r"\| F\d", line)]
    said = [m.groups() for row in rows for m in re.finditer(TRIPLE, row)]
    assert len(rows) == 9 and len(said) > 35 and len(made) > 100
    assert [triple for triple in said if not any(all(map(near, triple, figures)) for figures in made)] == []


def test_the_table_names_the_commits_that_made_the_rows():
    lines = [line for line in (FINDINGS / "README.md").read_text("utf-8").splitlines() if re.match(r"\| F\d", line)]
    for line in lines:
        last = line.rsplit("|", 2)[1]
        files = [file for name in re.findall("`(.+?)`", last) for file in (FINDINGS / "studies").glob(f"**/{name}.csv")]
        if "four" not in last:
            files = [file for file in files if file.parent.name == "studies"]
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
