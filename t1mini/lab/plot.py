"""Tables and figures of studies, and figures of runs of `train`.

    STUDY.svg           a study's variants, a dot a run (thinking-budget: budget curves), and RL on the way
    budget_curve.svg    accuracy against the thinking budget: SFT start, half-way, final policy
    learning.svg        accuracy, length and entropy over the updates

Lines are means over runs, bands run from the lowest to the highest; over updates both are means of five.
Colours are those of Okabe and Ito, which the colour-blind can tell apart, and every line has its own dashes
for print. Drawing needs matplotlib (tutorials/requirements.txt). --text does not: it prints a study's
variants, and its contrasts with 95% intervals.

    accuracy    of scores on the same test problems; the interval is from a bootstrap over problems and seeds,
                for both are samples of what could have been
    gain        what a thinking budget of 192 tokens adds to the accuracy at 48: the same bootstrap
    others      one figure a seed: paired differences over the seeds, with Student's t

An interval that excludes 0 is a finding, at this scale; one that does not is none.

Run it: python -m t1mini plot thinking-budget --text
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t1mini.lab.findings import STUDIES
from t1mini.runs.folder import read_rows
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.statistics import crossed_bootstrap, t_interval

Rows = list[dict[str, str]]
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
POLICIES = {"sft": "SFT start", "half": "RL, half-way", "rl": "RL, final"}
POINTS = ("accuracy", "gain")  # figures that are scores on problems
LABELS = {
    "step": "RL update", "budget": "thinking budget (tokens)", "test": "accuracy on test problems (%)",
    "accuracy": "accuracy while sampling", "length": "tokens a response", "entropy": "entropy (nats a token)",
    "kl": "KL to the reference (nats a response)", "reward": "reward",
    "repetitive": "share repetitive", "overlong": "share overlong", "garbled": "share garbled",
}
LEARNING = ("step accuracy", "step length", "step entropy")  # what a panel shows: x, y
PANELS = {
    "oversampling": ("step accuracy", "step length", "kl reward"),
    "reference": ("step accuracy", "step kl", "kl reward"),
    "penalties": ("step length", "step repetitive", "step overlong", "step garbled"),
}


@dataclass(frozen=True)
class PlotConfig(StageConfig):
    runs: tuple = setting(("runs/train-tiny-0",), "run folders of train, or studies", positional=True)
    studies: str = setting("tutorials/findings/studies", "folder of the studies' CSV files")
    text: bool = setting(False, "print studies as tables instead")
    out: str = setting("figures", "folder to write the figures to")


def run(config: PlotConfig):
    studies = [name for name in config.runs if name in STUDIES]
    runs = [name for name in config.runs if name not in STUDIES]
    if config.text and runs:
        raise UserError(f"--text: {runs[0]} is no study; the text of a run is its report.txt")
    figures = draw_runs(runs) if runs else {}
    for name in studies:
        path = f"{config.studies}/{name}.csv"
        rows = read(path, "seed", "samples", "pass@1")
        try:
            if config.text:
                print(table(name, rows) + "\n" * (name != studies[-1]))
            else:
                figures[name] = draw_study(name, rows, read_rows(Path(config.studies, f"{name}-steps.csv")))
        except (LookupError, TypeError, ValueError) as error:
            raise UserError(f"{path} is not as study leaves it: {error!r}") from None
    if config.text:
        return
    Path(config.out).mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        save(figure, f"{config.out}/{name}.svg")
        print(f"wrote {config.out}/{name}.svg")


def read(path: str, *columns: str) -> Rows:
    """The rows of a CSV file with numbers under `columns`. UserError names the file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and all(math.isfinite(float(row[column])) for row in rows for column in columns):
            return rows
        wrong = "no rows, or no numbers"
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        wrong = getattr(error, "strerror", None) or error
    raise UserError(f"cannot read {path}: {wrong}; plot takes what train or study leaves")


def groups(rows: Rows, column: str) -> dict[str, Rows]:
    """Rows by what they have in a column, in the order they come."""
    values = dict.fromkeys(row[column] for row in rows)
    return {value: [row for row in rows if row[column] == value] for value in values}


def table(name: str, rows: Rows) -> str:
    """A study's variants, then its contrasts, as text."""
    variants = groups(rows, "variant")
    width = max(map(len, variants)) + 2
    columns = ("pass@1", "length", "repetitive", "overlong", "last_kl", "last_entropy")
    lines = [f"{name:{width}}{'seeds':>6}" + "".join(f"{column:>14}" for column in columns)]
    for variant, of in variants.items():
        figures = [[float(row[column]) for row in of if row[column]] for column in columns]
        means = "".join(f"{np.mean(x):>14.3f}" if x else f"{'-':>14}" for x in figures)
        lines.append(f"{variant:{width}}{len(of):>6}{means}")
    contrasts = [f"{contrast}: {finding(contrast, rows)}" for contrast in STUDIES[name].contrasts]
    return "\n".join([*lines, "", *contrasts])


def finding(contrast: str, rows: Rows) -> str:
    """Accuracy in points, anything else as it is; with its interval."""
    found = estimate(contrast, rows)
    if not found:
        return "needs rows that are not there"
    scale, unit = (100, " points") if parts(contrast)[0] in POINTS else (1, "")
    value, low, high = (scale * x for x in found[:3])
    verdict = "more" if low > 0 else "less" if high < 0 else "not told apart"
    return f"{value:+.3g}{unit} ({low:+.3g} to {high:+.3g}; {found[3]} seed{'s' * (found[3] > 1)}), {verdict}"


def estimate(contrast: str, rows: Rows) -> tuple[float, float, float, int] | None:
    """(estimate, low, high, seeds), over the seeds that both variants have; None for too few of them."""
    figure, *variants = parts(contrast)
    found = {(row["variant"], row["seed"]): scores(figure, row) for row in rows if row["variant"] in variants}
    seeds = [seed for seed in groups(rows, "seed") if all((variant, seed) in found for variant in variants)]
    if len(seeds) < (1 if figure in POINTS else 2):
        return None
    first, *second = (np.array([found[variant, seed] for seed in seeds]) for variant in variants)
    differences = first - sum(second)  # [seeds, problems], or [seeds, 1]
    interval = crossed_bootstrap(differences, seed=0) if figure in POINTS else t_interval(differences[:, 0])
    return float(differences.mean()), *interval, len(seeds)


def parts(contrast: str) -> list[str]:
    """Figure and variants.

    >>> parts("length, none - all penalties"), parts("accuracy, 0% of RL: 192 tokens - 48 tokens")
    (['length', 'none', 'all penalties'], ['gain', '0% of RL'])
    """
    figure, _, variants = contrast.partition(", ")
    if "192 tokens" in contrast:
        figure, variants = "gain", variants.partition(": ")[0]
    return [figure, *variants.split(" - ")]


def scores(figure: str, row: dict[str, str]) -> np.ndarray:
    """The share of right responses to each test problem, or the gain in it [problems]; another figure [1]."""
    if figure not in POINTS:
        return np.array([float(row[figure])])
    at = dict(zip(json.loads(row["budgets"]), row["curve_correct"].split()))
    cuts = [row["correct"]] if figure == "accuracy" else [at[192], at[48]]
    first, *second = (np.array([int(digit, 36) for digit in digits]) / int(row["samples"]) for digits in cuts)
    return first - sum(second)


def draw_runs(runs: list[str]) -> dict:
    """budget_curve and learning, of runs of `train`."""
    curves, logs = [], []
    for run in runs:
        curve = read(f"{run}/budget_curve.csv", "budget", "accuracy")
        if groups(curve, "policy").keys() != POLICIES.keys():
            raise UserError(f"{run}/budget_curve.csv: want the policies {', '.join(POLICIES)}, as of train")
        for row in curve:
            accuracy = 100 * float(row["accuracy"])
            curves.append(row | {"variant": POLICIES[row["policy"]], "seed": run, "test": accuracy})
        for row in read(f"{run}/rl/metrics.csv", "step", "accuracy", "length", "entropy"):
            logs.append(row | {"variant": "runs", "seed": run})
    panels = {"budget_curve": [(curves, "budget test")], "learning": [(logs, axes) for axes in LEARNING]}
    return {name: draw(of) for name, of in panels.items()}


def draw_study(name: str, rows: Rows, steps: Rows):
    """A study's figure, from its two CSV files."""
    first = (rows, "pass@1 variant")
    if name == "thinking-budget":  # whose variants are moments of the same runs: the last has all steps
        steps = [step for step in steps if step["variant"] == rows[-1]["variant"]]
        first = [], "budget test"
        for row in rows:
            for budget, accuracy in zip(json.loads(row["budgets"]), json.loads(row["curve"])):
                first[0].append(row | {"budget": budget, "test": 100 * accuracy})
    return draw([first, *((steps, axes) for axes in PANELS.get(name, LEARNING) if steps)])


def draw(panels: list[tuple[Rows, str]]):
    """A figure of panels side by side, each of rows and the columns to show. UserError without matplotlib."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("figures need matplotlib: pip install -r tutorials/requirements.txt; "
                        "studies can be read with --text") from None
    matplotlib.rcParams.update({"svg.hashsalt": "t1mini", "font.size": 11})
    figure = Figure(figsize=(2 + 3.4 * len(panels), 3.8))
    order = list(groups([row for rows, _ in panels for row in rows], "variant"))
    for ax, (rows, axes) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        x, y = axes.split()
        ax.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, ""))
        ax.spines[["top", "right"]].set_visible(False)
        for variant, of in groups(rows, "variant").items():
            show = dots if y == "variant" else line
            show(ax, of, x, y, order.index(variant), variant)
    named = [ax for ax in figure.axes if ax.get_legend_handles_labels()[0]]
    for ax in named[:1]:
        ax.legend(frameon=False, fontsize=8)
    return figure


def dots(ax, rows: Rows, x: str, y: str, i: int, label: str):
    """A dot a run, a bar at their mean."""
    values = [float(row[x]) for row in rows]
    ax.plot(values, [label] * len(values), "o", color=COLOURS[i % 6])
    ax.plot(np.mean(values), label, "|", color="black", markersize=20)


def line(ax, rows: Rows, x: str, y: str, i: int, label: str):
    """The mean over runs, and their range."""
    runs = [[(float(row[x]), float(row[y])) for row in run] for run in groups(rows, "seed").values()]
    points = min(map(len, runs))
    found = np.array([run[:points] for run in runs])  # [runs, points, 2]
    if x != "budget":
        found = np.lib.stride_tricks.sliding_window_view(found, min(5, points), axis=1).mean(axis=-1)
    xs, ys = found[..., 0].mean(axis=0), found[..., 1]
    ax.plot(xs, ys.mean(axis=0), color=COLOURS[i % 6], linestyle=DASHES[i % 6], label=label)
    if x != "kl":  # where the runs' xs differ
        ax.fill_between(xs, ys.min(axis=0), ys.max(axis=0), color=COLOURS[i % 6], alpha=0.15, linewidth=0)


def save(figure, file: str):
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
