"""A reader's functions in the loop: right ones change nothing, wrong ones show, blank ones are left out."""

from pathlib import Path

import pytest

from t1mini.__main__ import main
from t1mini.runs.folder import read_rows

ROOT = Path(__file__).parents[2]
SMALL = "rl --steps 3 --prompts 2 --k 4 --max-new-tokens 48 --workers 1 --threads 1".split()


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def train(folder: Path, *flags: str) -> list[dict]:
    assert main([*SMALL, *flags, "--out", str(folder)]) == 0
    return read_rows(folder / "metrics.csv")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return train(tmp_path_factory.mktemp("plain") / "run", "--plain")


@pytest.mark.parametrize("answers", ["a06", "b06", "a07", "b07", "a08", "b08", "a09", "b09"])
def test_right_functions_train_as_the_librarys_do(answers, plain, tmp_path, capsys):
    rows = train(tmp_path / "run", "--exercise", f"tests/tutorials/solutions/{answers}.py")
    assert f"take the library's place; python tutorials/check.py {answers[1:]} --submission" in capsys.readouterr().out
    for own, row in zip(rows, plain, strict=True):
        same = {name: pytest.approx(float(row[name]), abs=1e-3) for name in row if name != "logprob_gap"}
        assert {name: float(own[name]) for name in same} == same


def test_a_wrong_function_shows_and_is_gone_afterwards(plain, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def penalised_reward(reward, repetitive, overlong, garbled):\n    return 0.25\n")
    rows = train(tmp_path / "run", "--exercise", str(mine))
    assert all(float(row["reward"]) == 0.25 and float(row["tied_groups"]) == 1 for row in rows)
    assert train(tmp_path / "again", "--plain") == plain


@pytest.mark.parametrize("code, says", [
    ("def rloo_advantages(rewards):\n    raise NotImplementedError\n", "only blank ones"),
    ("def other():\n    return 1\n", "none of the functions"),
    ("def rloo_advantages(\n", "SyntaxError"),
    ("1 / 0\n", "ZeroDivisionError"),
    ("exit()\n", "SystemExit"),
    ("def rloo_advantages(rewards):\n    return rewards.nothing\n", "in rloo_advantages, line 2: AttributeError"),
    ("def sequence_kl(logprobs, ref_logprobs, mask):\n    assert mask is None\n", "python tutorials/check.py 08 --submission"),
    ("def rloo_advantages(rewards):\n    return rewards / 0 - rewards / 0\n", "python tutorials/check.py 06 --submission"),
    ("def policy_gradient_loss(logprobs, advantages, mask, **_):\n    return logprobs.sum() * float('nan')\n",
     "python tutorials/check.py 06 --submission"),
    ("def token_entropy(logits):\n    return 0\n\ndef ema_update(a, b, c):\n    return a.b\n", "check.py 07 --submission"),
    ("def rloo_advantages(rewards):\n    return None\n", "TypeError"),
    ("def token_entropy(logits):\n    return logits\n", "the step fails"),
    ("def token_entropy(logits):\n    return {}[logits]\n", "in token_entropy, line 2: KeyError"),
])
def test_a_readers_mistake_is_one_line(code, says, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(code)
    assert main([*SMALL, "--exercise", str(tmp_path / "mine.py"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("t1mini:") and says in error


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main([*SMALL, "--exercise", "nowhere.py", "--out", str(tmp_path / "run")]) == 2
    assert "nowhere.py" in capsys.readouterr().err and not (tmp_path / "run").exists()
