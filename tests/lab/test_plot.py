"""Figures average what several runs have in common, and say what to install when matplotlib is missing."""

import importlib.util
import sys
from unittest.mock import Mock

from t1mini.__main__ import main
from t1mini.lab import plot
from t1mini.lab.plot import bars, line


def test_a_line_is_the_mean_and_a_band_the_range_of_what_every_run_has():
    points = ((0, 16, 2), (0, 32, 5), (0, 48, 9), (1, 16, 4), (1, 32, 5))
    line(ax := Mock(), [{"seed": seed, "budget": x, "test": y} for seed, x, y in points], "budget", "test", "red", label="a")
    assert [list(x) for x in ax.plot.call_args.args] == [[16, 32], [3, 5]]
    assert [list(x) for x in ax.fill_between.call_args.args] == [[16, 32], [2, 5], [4, 5]]
    line(ax, [{"seed": 0, "step": i, "kl": i % 5} for i in range(7)], "step", "kl", "red")
    assert [list(x) for x in ax.plot.call_args.args] == [[2, 3, 4], [2, 2, 2]]


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    (tmp_path / "rl").mkdir()
    (tmp_path / "budget_curve.csv").write_text("policy,budget,accuracy\nsft,16,0.1\nhalf,16,0.2\nrl,16,0.3\n")
    (tmp_path / "rl/metrics.csv").write_text("step,accuracy,length,entropy\n1,0.1,20,0.5\n")
    if importlib.util.find_spec("matplotlib"):
        assert main(["plot", str(tmp_path), "start", "--out", str(tmp_path / "drawn")]) == 0
        assert sorted(path.stem for path in (tmp_path / "drawn").iterdir()) == ["budget_curve", "learning", "start"]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", str(tmp_path), "--out", str(tmp_path / "figures")]) == 2
    assert "pip install -r tutorials/requirements.txt" in capsys.readouterr().err
    assert not (tmp_path / "figures").exists()


def test_runs_of_rl_of_scale_and_runs_that_go_on_are_drawn_as_far_as_they_are(tmp_path, monkeypatch, capsys):
    drawn, steps = [], "step,accuracy,length,entropy\n1,0.1,20,0.5\n"
    monkeypatch.setattr(plot, "save", lambda figure, file: drawn.append(file.stem))
    monkeypatch.setattr(plot, "draw", lambda panels, found: [x for x, rows in found.items() if rows and f"{x} " in panels])
    for name, file, text in (("rl", "metrics.csv", steps), ("train", "rl/metrics.csv", steps), ("sft", "metrics.csv", "step,loss\n1,2\n"),
                             ("scale", "budget_curve.csv", "policy,budget,accuracy\ndata/tiny-rl,16,0.1\n"),
                             ("begun", "metrics.csv", "step,accuracy\n"), ("evaluate", "evaluation.json", "{}")):
        (tmp_path / name / file).parent.mkdir(parents=True)
        (tmp_path / name / file).write_text(text)
    for names, figures in (("rl", ["learning"]), ("train rl", ["learning"]), ("scale", ["budget_curve"]),
                           ("scale rl start", ["start", "budget_curve", "learning"])):
        assert main(["plot", *(name if name == "start" else str(tmp_path / name) for name in names.split())]) == 0
        assert drawn == figures
        drawn.clear()
    assert main(["plot", str(tmp_path / "sft")]) == 0 and drawn == ["sft"]
    drawn.clear()
    for name in ("begun", "evaluate"):
        assert main(["plot", str(tmp_path / name)]) == 2 and not drawn
        assert f"{tmp_path / name} is no run of train, rl, sft or scale that has rows to draw" in capsys.readouterr().err


def test_bars_of_the_largest_numbers():
    assert bars([0, 1e308, 5]) == "▁█▁"


def test_curves_in_a_terminal(tmp_path, capsys):
    (tmp_path / "rl").mkdir()
    (tmp_path / "budget_curve.csv").write_text("policy,budget,accuracy\nsft,16,0.1\nsft,32,0.2\nrl,16,0.1\nrl,32,0.5\n")
    (tmp_path / "rl/metrics.csv").write_text("step,accuracy,length\n" + "".join(f"{i},{i},5\n" for i in range(8)))
    assert main(["plot", str(tmp_path), "--text"]) == 0
    said = capsys.readouterr().out
    assert "accuracy                  0         7  ▁▂▃▄▅▆▇█" in said and "length                    5         5  ▁▁▁▁▁▁▁▁" in said
    assert f"{tmp_path}, RL, final: budget 16 to 32" in said and f"{tmp_path}: step 0 to 7" in said
