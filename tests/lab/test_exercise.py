"""A reader's functions in the loop: right ones change nothing, wrong ones show, blank ones are left out, mistakes are one line."""

import pytest

from t1mini.__main__ import main
from t1mini.runs.folder import read_rows

SMALL = ["rl", "--steps", "2", "--prompts", "2", "--k", "4", "--max-new-tokens", "48", "--workers", "1", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def at_home():
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[2])
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert main([*SMALL, "--out", str(folder)]) == 0
    return read_rows(folder / "metrics.csv")


@pytest.mark.parametrize("answers", ["a06", "b06", "a07", "b07", "a08", "b08", "a09", "b09"])
def test_right_functions_train_as_the_librarys_do(answers, plain, tmp_path, capsys):
    assert main([*SMALL, "--exercise", f"tests/answers/{answers}.py", "--out", str(tmp_path / "run")]) == 0
    assert "take the library's place" in capsys.readouterr().out
    for own, row in zip(read_rows(tmp_path / "run/metrics.csv"), plain, strict=True):
        assert all(float(own[name]) == pytest.approx(float(row[name]), abs=1e-3) for name in row if name != "logprob_gap")


def test_a_wrong_function_shows_and_is_gone_afterwards(plain, tmp_path):
    (tmp_path / "mine.py").write_text("def penalised_reward(reward, repetitive, overlong, garbled):\n    return 0.25\n")
    assert main([*SMALL, "--exercise", str(tmp_path / "mine.py"), "--out", str(tmp_path / "run")]) == 0
    assert all(float(row["reward"]) == 0.25 and float(row["tied_groups"]) == 1 for row in read_rows(tmp_path / "run/metrics.csv"))
    assert main([*SMALL, "--out", str(tmp_path / "again")]) == 0
    assert read_rows(tmp_path / "again/metrics.csv") == plain


@pytest.mark.parametrize(
    "code, says",
    [
        ("def rloo_advantages(rewards):\n    raise NotImplementedError\n", "only blank ones"),
        ("def other():\n    return 1\n", "none of the functions"),
        ("def rloo_advantages(\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("def rloo_advantages(rewards):\n    return rewards.nothing\n", "AttributeError"),
        ("def rloo_advantages(rewards):\n    return None\n", "TypeError"),
        ("def token_entropy(logits):\n    return logits\n", "the step fails"),
    ],
)
def test_a_readers_mistake_is_one_line(code, says, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(code)
    assert main([*SMALL, "--exercise", str(tmp_path / "mine.py"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("t1mini:") and says in error


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main([*SMALL, "--exercise", "nowhere.py", "--out", str(tmp_path / "run")]) == 2
    assert "nowhere.py" in capsys.readouterr().err and not (tmp_path / "run").exists()
