"""Figures average what several runs have in common, and say what to install when matplotlib is missing."""

import sys

from t1mini.__main__ import main
from t1mini.lab.plot import band


def test_a_band_is_mean_lowest_and_highest_where_every_run_has_a_value():
    runs = [[{"step": "1", "reward": "0.5"}, {"step": "2", "reward": "1.0"}, {"step": "3", "reward": "9"}],
            [{"step": "1", "reward": "0.1"}, {"step": "2", "reward": "0.0"}]]
    x, mean, low, high = band(runs, "step", "reward")
    assert (x, low, high) == ([1.0, 2.0], [0.1, 0.0], [0.5, 1.0])
    assert mean == [0.3, 0.5]


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    (tmp_path / "rl").mkdir()
    (tmp_path / "budget_curve.csv").write_text("policy,budget,accuracy\nsft,16,0.1\nhalf,16,0.2\nrl,16,0.3\n")
    (tmp_path / "rl/metrics.csv").write_text("step,accuracy,length,entropy\n1,0.1,20,0.5\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", str(tmp_path), "--out", str(tmp_path / "figures")]) == 2
    assert "pip install -r tutorials/requirements.txt" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()
