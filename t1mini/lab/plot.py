"""Tables and figures of studies, and figures of runs of `train`, `rl`, `sft` and `scale`.

    STUDY.svg           a study's variants, a dot a run (thinking-budget: budget curves), and RL on the way
    budget_curve.svg    accuracy against the thinking budget: SFT start, half-way, final policy
    learning.svg        accuracy, length and entropy over the updates, so far where a run goes on
    sft.svg             the loss over SFT's updates

Lines are means over runs, bands run from the lowest to the highest; over updates both are means of five.
Colours are those of Okabe and Ito, which the colour-blind can tell apart, and every line has its own dashes
for print. Drawing needs matplotlib (tutorials/requirements.txt). --text does not: of a run it prints each
column of metrics.csv as a line of bars, of a study its variants, and its contrasts with 95% intervals.

    accuracy    of scores on the same test problems; the interval is from a bootstrap over problems and seeds,
                for both are samples of what could have been
    gain        what a thinking budget of 192 tokens adds to the accuracy at 48: the same bootstrap
    others      one figure a seed: paired differences over the seeds, with Student's t

An interval that excludes 0 is a finding, at this scale; one that does not is none.

Run it: python -m t1mini plot thinking-budget --text
"""

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t1mini.lab.findings import STUDIES
from t1mini.runs.folder import read_rows
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.statistics import crossed_bootstrap, t_interval

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
POLICIES = {"sft": "SFT start", "half": "RL, half-way", "rl": "RL, final"}
# "FIGURE, A - B", of two variants; with ": 192 tokens - 48 tokens" the gain of one
CONTRAST = re.compile(r"(\S+)(?: from .+)?, (.+?)(?:: .+| - (.+))")
LABELS = {
    "pass@1": "accuracy on test problems", "variant": "",
    "step": "RL update", "budget": "thinking budget (tokens)", "test": "accuracy on test problems (%)",
    "accuracy": "accuracy while sampling", "length": "tokens a response", "entropy": "entropy (nats a token)",
    "kl": "KL to the reference (nats a response)", "reward": "reward",
    "repetitive": "share repetitive", "overlong": "share overlong", "garbled": "share garbled",
    "loss": "loss (nats a token)",
}
PANELS = {  # the columns that the panels of a figure show, x and y
    "budget_curve": "budget test",
    "learning": "step accuracy, step length, step entropy",
    "sft": "step loss",
    "thinking-budget": "budget test, step accuracy, step length, step entropy",
    "penalties": "pass@1 variant, step length, step repetitive, step overlong, step garbled",
    "oversampling": "pass@1 variant, step accuracy, step length, kl reward",
    "reference": "pass@1 variant, step accuracy, step kl, kl reward",
    "others": "pass@1 variant, step accuracy, step length, step entropy",
}


@dataclass(frozen=True)
class PlotConfig(StageConfig):
    runs: tuple = setting(("runs/train-tiny-0",), "run folders of train, rl, sft or scale; studies, or all",
                          positional=True)
    studies: str = setting("tutorials/findings/studies", "folder of the studies' CSV files")
    text: bool = setting(False, "print curves and tables instead")
    out: str = setting("figures", "folder to write the figures to")


def run(config):
    runs = [name for name in config.runs if name not in ("all", *STUDIES)]
    studies = [name for name in STUDIES if name in config.runs  # all are those that have rows
               or "all" in config.runs and Path(config.studies, f"{name}.csv").exists()]
    for name in studies + ["budget_curve", "learning", "sft"] * bool(runs):
        try:
            found = rows_of_study(name, config.studies) if name in STUDIES else rows_of_runs(runs)
            if name in ("learning", "sft"):  # RL's metrics, or SFT's
                found["step"] = [row for row in found["step"] if ("accuracy" in row) == (name == "learning")]
            if config.text:
                x = "budget" if name == "budget_curve" else "step"
                text = table(name, found["pass@1"]) if name in STUDIES else sparklines(x, found[x])
                print(text, end="\n\n" * bool(text))
            elif figure := draw(PANELS.get(name, PANELS["others"]), found):
                save(figure, Path(config.out, f"{name}.svg"))
        except (csv.Error, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise UserError(f"{name}: its rows are not as train or study leaves them: {error!r}") from None


def rows_of_study(name, folder):
    """By the column that a panel has as x: the rows to show, of variants and seeds."""
    rows, steps = read_rows(Path(folder, f"{name}.csv")), read_rows(Path(folder, f"{name}-steps.csv"))
    if not rows:
        raise UserError(f"cannot read {folder}/{name}.csv: there are no rows; python -m t1mini study {name} "
                        "makes them")
    curves = [row | {"budget": budget, "test": 100 * accuracy} for row in rows
              for budget, accuracy in zip(json.loads(row["budgets"]), json.loads(row["curve"]))]
    return {"pass@1": rows, "budget": curves, "step": steps, "kl": steps}


def rows_of_runs(runs):
    """The same of run folders. UserError for one that has nothing to draw."""
    curves, steps = [], []
    for run in runs:
        curve = read_rows(Path(run, "budget_curve.csv"))
        step = read_rows(Path(run, "rl/metrics.csv")) or read_rows(Path(run, "metrics.csv"))
        if not (curve or step):
            raise UserError(f"{run} is no run of train, rl, sft or scale that has rows to draw, and no "
                            f"study: those are {', '.join(STUDIES)}")
        curves += [row | {"variant": POLICIES.get(row["policy"], row["policy"]), "seed": run,
                          "test": 100 * float(row["accuracy"])} for row in curve]
        steps += [row | {"variant": "runs", "seed": run} for row in step]
    return {"budget": curves, "step": steps}


def sparklines(x, rows):
    """Of each run, and each policy on its budget curve, how a column moves: first, last, and bars between."""
    lines = []
    for run, of_run in groups(rows, "seed").items():
        for variant, of in groups(of_run, "variant").items():
            lines.append(f"{run}{f', {variant}' * (x == 'budget')}: {x} {of[0][x]} to {of[-1][x]}")
            for column in ["accuracy"] if x == "budget" else [*of[0]][1:-2]:  # not step, variant, seed
                values = [float(row[column]) for row in of]
                lines.append(f"  {column:17}{values[0]:>10.4g}{values[-1]:>10.4g}  {bars(values)}")
    return "\n".join(lines)


def bars(values, width=60):
    """A bar a value, from the lowest to the highest; of more values than `width`, a bar for several.

    >>> bars([0, 1, 2, 7]), bars([1, 1]), bars([float("nan"), 0, 1])
    ('▁▂▃█', '▁▁', ' ▁█')
    """
    means = [part.mean() for part in np.array_split(values, min(width, len(values)))]
    known = [x for x in means if np.isfinite(x)] or [0]
    low, span = min(known), max(known) - min(known) or 1
    return "".join("▁▂▃▄▅▆▇█"[int((x - low) / span * 7)] if np.isfinite(x) else " " for x in means)


def groups(rows, column):
    """Rows by what they have in a column, in the order they come."""
    found = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def table(name, rows):
    """A study's variants, then its contrasts, as text."""
    variants = groups(rows, "variant")
    columns = "pass@1 length repetitive overlong last_kl last_entropy".split()
    line = f"{{:{max(map(len, variants)) + 2}}}{{:>6}}{'{:>14}' * len(columns)}".format
    lines = [line(name, "seeds", *columns)]
    for variant, of in variants.items():
        figures = [[float(row[column]) for row in of if row[column]] for column in columns]
        lines.append(line(variant, len(of), *(f"{np.mean(x):.3f}" if x else "-" for x in figures)))
    contrasts = map(str.strip, STUDIES[name].contrasts.strip().splitlines())
    return "\n".join([*lines, "", *(f"{contrast}: {finding(contrast, rows)}" for contrast in contrasts)])


def finding(contrast, rows):
    """The difference with its interval, over the seeds that both variants have."""
    figure, *variants = filter(None, CONTRAST.fullmatch(contrast).groups())
    figure = figure if variants[1:] else "gain"
    in_points, differences = figure in ("accuracy", "gain"), []
    for of in groups(rows, "seed").values():
        runs = {row["variant"]: row for row in of}
        if runs.keys() >= set(variants):
            first, *second = (scores(figure, runs[variant]) for variant in variants)
            differences.append(first - sum(second))
    seeds = len(differences)
    if seeds + in_points < 2:  # only problems make an interval from one seed
        return "needs rows that are not there"
    low, high = crossed_bootstrap(differences, seed=0) if in_points else t_interval(differences)
    verdict = "more" if low > 0 else "less" if high < 0 else "not told apart"
    return (f"{np.mean(differences):+.3g}{' points' * in_points} ({low:+.3g} to {high:+.3g}; "
            f"{seeds} seed{'s' * (seeds > 1)}), {verdict}")


def scores(figure, row):
    """Percent right of each test problem, or the gain in it [problems]; another figure as it is."""
    percent = lambda digits: np.array([100 * int(digit, 36) for digit in digits]) / int(row["samples"])
    if figure == "accuracy":
        return percent(row["correct"])
    if figure == "gain":
        at = dict(zip(json.loads(row["budgets"]), row["curve_correct"].split()))
        return percent(at[192]) - percent(at[48])
    return float(row[figure])


def draw(panels, found):
    """A figure of panels side by side, where there are rows for them; none where there are none for any.

    UserError without matplotlib.
    """
    axes = [(x, y) for x, y in map(str.split, panels.split(", ")) if found[x]]
    if not axes:
        return None
    try:
        import matplotlib.figure
    except ImportError:
        raise UserError("figures need matplotlib: pip install -r tutorials/requirements.txt; "
                        "studies can be read with --text") from None
    matplotlib.rcParams.update({"svg.hashsalt": "t1mini", "font.size": 11,
                                "axes.spines.top": False, "axes.spines.right": False})
    figure = matplotlib.figure.Figure(figsize=(2 + 3.4 * len(axes), 3.8))
    styles = dict(zip(groups(found[axes[0][0]], "variant"), zip(COLOURS, DASHES)))
    for ax, (x, y) in zip(np.ravel(figure.subplots(1, len(axes))), axes):
        ax.set(xlabel=LABELS[x], ylabel=LABELS[y])
        for variant, of in groups(found[x], "variant").items():
            color, dashes = styles[variant]
            if y == "variant":
                ax.plot([float(row[x]) for row in of], [variant] * len(of), "o", color=color)
            else:
                line(ax, of, x, y, color, linestyle=dashes, label=variant)
    dots = axes[0][1] == "variant"  # the first panel with lines is the next
    for ax in figure.axes[dots : dots + 1]:
        ax.legend(frameon=False, fontsize=8)
    return figure


def line(ax, rows, x, y, color, **style):
    """The mean over runs, and their range, of the points that all have; over updates, of five at a time."""
    runs = ([(row[x], row[y]) for row in run] for run in groups(rows, "seed").values())
    points = np.array(list(zip(*runs)), dtype=float)  # [points, runs, 2]
    window = 1 if x == "budget" else min(5, len(points))
    points = np.lib.stride_tricks.sliding_window_view(points, window, axis=0).mean(-1)
    xs, ys = np.moveaxis(points, -1, 0)  # [points, runs]
    middle = xs.mean(1)
    ax.plot(middle, ys.mean(1), color=color, **style)
    if x != "kl":  # where the runs' xs differ
        ax.fill_between(middle, ys.min(1), ys.max(1), color=color, alpha=0.15, linewidth=0)


def save(figure, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    print(f"wrote {file}")
