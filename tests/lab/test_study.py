"""A study is made once, goes on where it was stopped, replaces nothing; contrasts find what is there."""

import json
import os
import shutil
import signal
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from t1mini import inference_scaling, loss, rl, sft
from t1mini.__main__ import main
from t1mini.lab import study as studies
from t1mini.lab.plot import CONTRAST, finding, scores
from t1mini.lab.study import STUDIES, StudyConfig, digits, ensure, figures, stage_config, variant
from t1mini.penalties import judge
from t1mini.runs.folder import read_rows
from t1mini.runs.settings import UserError
from t1mini.tasks import countdown

SMALL = ["--traces", "32", "--steps", "1", "--prompts", "2", "--problems", "3", "--threads", "1", "--seeds", "0"]


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A study that was stopped while its second variant was measured, and gone on with: its folder, its first row."""
    out = tmp_path_factory.mktemp("study") / "out"
    measured, command = studies.figures, ["study", "difficulty", *SMALL, "--out", str(out)]

    def measure(policy, config):
        if (out / "difficulty.csv").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return measured(policy, config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "figures", measure)
        assert main(command) == 143
    before = (out / "difficulty.csv").read_text()
    assert main(command) == 0
    return out, before


def test_a_stopped_study_goes_on_and_leaves_a_row_a_variant(stopped_once):
    out, before = stopped_once
    assert len(before.splitlines()) == 2 and (out / "difficulty.csv").read_text().startswith(before)
    found = read_rows(out / "difficulty.csv")
    assert [row["variant"] for row in found] == list(STUDIES["difficulty"].variants)
    for row in found:
        assert all(0 <= float(row[name]) <= 1 for name in ("pass@1", "overlong", "missed_first", "recovered", "share_of_rl"))
        assert row["problems"] == "3" and len(row["correct"]) == 3 and float(row["seconds"]) > 0 and row["torch"]
        assert float(row["pass@1"]) == pytest.approx(scores("accuracy", row).mean() / 100, abs=1e-6)
        assert len(json.loads(row["curve"])) == len(json.loads(row["budgets"])) == len(row["curve_correct"].split())
        assert json.loads(row["sft"])["traces"] == 32 and -1 <= float(row["last_reward"]) <= 1
    assert json.loads(found[1]["rl"])["data"].endswith("hard.jsonl")
    steps = read_rows(out / "difficulty-steps.csv")
    assert [(step["variant"], step["step"]) for step in steps] == [(row["variant"], "1") for row in found]


def test_runs_are_shared_rows_are_made_once_and_progress_is_said(stopped_once, monkeypatch, capsys):
    out, _ = stopped_once
    monkeypatch.setattr(rl, "run", None)  # the same SFT and RL as of "all problems"
    monkeypatch.setattr(sft, "run", None)
    command = ["study", "thinking-budget", *SMALL, "--out", str(out), "--variants", "0% of RL", "100% of RL"]
    assert main(command) == 0
    assert "thinking-budget, seed 0, variant 2 of 2: 100% of RL\n" in capsys.readouterr().out
    (start, end), (same, _) = (read_rows(out / f"{name}.csv") for name in ("thinking-budget", "difficulty"))
    assert (start["share_of_rl"], start["rl"], start["last_kl"]) == ("0", "", "")
    assert all(end[column] == same[column] for column in ("correct", "curve_correct", "last_kl", "sft", "rl"))
    written = lambda: {path: path.read_bytes() for path in out.glob("*.csv")}
    before = written()
    monkeypatch.setattr(studies, "figures", None)  # nothing is left to measure
    assert main(command) == main(["study", "--resume", str(out)]) == 0 and written() == before


def test_rows_of_others_are_left_alone(stopped_once, tmp_path, capsys):
    out, _ = stopped_once
    shutil.copy(out / "difficulty.csv", tmp_path)  # as rows lie in tutorials/findings/studies
    before = (out / "difficulty.csv").read_bytes()
    for folder, message in ((out, "was begun with 2, and keeps it"), (tmp_path, "already holds files; choose another")):
        assert main(["study", "difficulty", *SMALL, "--prompts", "3", "--out", str(folder)]) == 2
        assert f"{folder} {message}" in capsys.readouterr().err and (folder / "difficulty.csv").read_bytes() == before


def test_without_a_name_nothing_begins_and_four_numbers_have_a_folder_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study"]) == 0 and not any(tmp_path.iterdir())
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(STUDIES) and "5 variants   F3: a sampling temperature" in listed[5]
    splits = {name: [countdown.Problem((1, 2, 3, 4), 10)] * 3 for name in countdown.SPLITS}
    monkeypatch.setattr(countdown, "make_splits", lambda count: splits if count == 4 else {})
    assert main(["study", "start", *SMALL, "--numbers", "4", "--variants", "trial and error, SFT"]) == 0
    assert [row["variant"] for row in read_rows(Path("runs/study-tiny-4/start.csv"))] == ["trial and error, SFT"]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_switches_settings_that_there_are_and_compares_its_own_variants(name):
    study, known = STUDIES[name], {f.name for stage in (sft.SFTConfig, rl.RLConfig) for f in fields(stage)} | {"share", "hard"}
    for changes in study.variants.values():
        assert known >= changes.keys() | study.common.keys()
        variant(stage_config(rl.RLConfig, StudyConfig(), **study.common | changes))
    contrasts = [line.strip() for line in study.contrasts.strip().splitlines()]
    assert {label for contrast in set(contrasts) for label in CONTRAST.fullmatch(contrast).groups()[1:]} <= {None, *study.variants}


def test_an_error_in_a_stage_advises_the_command_that_goes_on_with_all(tmp_path):
    (error := UserError("stopped")).add_note("; go on with python -m t1mini rl --resume runs/x")
    with pytest.raises(UserError):
        ensure(Mock(run=Mock(side_effect=error)), rl.RLConfig(out=str(tmp_path)), "python -m t1mini train --resume a\\1")
    assert error.__notes__ == ["; go on with python -m t1mini train --resume a\\1"]


def test_variants_give_credit_otherwise():
    config, rewards = rl.RLConfig(prompts=1, k=2, variant="length"), torch.tensor([[1.0, 0.0, 0.0, -1.0]])
    assert torch.allclose(variant(replace(config, variant="mean"))["rloo_advantages"](rewards) * 4 / 3, loss.rloo_advantages(rewards))
    assert variant(replace(config, variant="std"))["rloo_advantages"](rewards).std() == pytest.approx(1)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    logprobs, advantages = torch.full((2, 3), -1.0), torch.tensor([3.0, -1.0])
    found = variant(config)["policy_gradient_loss"](logprobs, advantages, mask, normaliser=torch.tensor(4))
    assert found == pytest.approx((3.0 - 1.0) / 2)  # the mean over responses of A * mean over its tokens


def test_what_is_cut_off_gives_no_gradient_and_anothers_reward_teaches_nothing():
    config = rl.RLConfig(prompts=2, k=2, max_new_tokens=3, variant="masked")
    logprobs, advantages = torch.zeros(4, 3, requires_grad=True), torch.tensor([1.0, -1.0, 2.0, -2.0])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]).bool()
    variant(config)["policy_gradient_loss"](logprobs, advantages, mask, normaliser=4).backward()
    assert torch.equal(logprobs.grad, torch.tensor([[0, 0, 0], [0.25, 0.25, 0], [-0.5, 0, 0], [0, 0, 0]]))
    rewards = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    control = variant(replace(config, variant="random"))["rloo_advantages"](rewards)
    assert torch.equal(control, loss.rloo_advantages(rewards).flip(0))


def made(variant: str, seed: int, correct: np.ndarray, curve: list[np.ndarray] = (), **figures) -> dict:
    return {"variant": variant, "seed": str(seed), "samples": "4", "correct": digits(correct), "budgets": "[48, 192]",
            "curve_correct": " ".join(map(digits, curve)), **{name: str(x) for name, x in figures.items()}}


def test_contrasts_find_a_difference_that_is_there_and_none_that_is_not():
    rng = np.random.default_rng(0)
    found = [made(name, seed, (rng.random((300, 4)) < p).astype(int), length=100 * p + rng.normal())
             for name, p in (("good", 0.7), ("poor", 0.5), ("same", 0.5)) for seed in range(3)]
    for names, says in (("good - poor", " points (+17.2 to +24.1; 3 seeds), more"), ("poor - good", "less"), ("same - poor", "not told apart")):
        assert finding(f"accuracy, {names}", found).endswith(says)
    assert float(finding("length, good - poor", found).split()[0]) == pytest.approx(20, abs=3)
    for contrast, rows in (("accuracy, good - missing", found), ("length, good - poor", found[::3])):
        assert finding(contrast, rows) == "needs rows that are not there"
    assert finding("accuracy, good - poor", found[::3]).endswith("1 seed), more")
    flat, rising = [np.ones((50, 4), int)] * 2, [np.ones((50, 4), int) * (np.arange(4) < 1), np.ones((50, 4), int)]
    found = [made(name, 0, curve[1], curve) for name, curve in (("early", flat), ("late", rising))]
    for contrast in ("gain from 48 to 192 tokens, late - early", "accuracy, late: 192 tokens - 48 tokens"):
        assert finding(contrast, found) == "+75 points (+75 to +75; 1 seed), more"


def test_recoveries_by_hand(monkeypatch):
    problem, right = countdown.Problem((3, 4, 11), 77), "3 + 4 = 7 * 11 = 77 check 3 + 4 = 7 , 7 * 11 = 77 ok answer 3 + 4 * 11"
    texts = [right, "3 + 11 = 14 * 4 = 56 low " + right, "3 + 11 = 14 * 4 = 56 low stop answer none", ""]
    verdicts = [judge(countdown, problem, text, [0] * 9, finished=True, max_new_tokens=50, repeat_limit=4) for text in texts]
    monkeypatch.setattr(studies.evaluate, "pick_problems", lambda config: [problem])
    for some, missed, recovered in ((verdicts, 0.5, 0.5), (verdicts[:1], 0, 0)):
        monkeypatch.setattr(studies, "measure", lambda *_: ({"interval": (0, 1)}, (np.ones((2, 1, len(some))), []), [some]))
        row = figures(Path(), inference_scaling.ScaleConfig())
        assert (row["missed_first"], row["recovered"], row["correct"]) == (missed, recovered, str(sum(v.correct for v in some)))
