"""Figures, as SVG, of runs of `train` or of studies. matplotlib is imported only when drawing (tutorials/requirements.txt has it).

    budget_curve.svg    accuracy against the thinking budget: SFT start, half-way, final policy
    learning.svg        accuracy, length and entropy over the updates
    STUDY.svg           a study's variants (t1mini.lab.study_plots); with --text its table and contrasts, on the terminal, without matplotlib

Given several runs of the same settings, lines are means over the runs and bands run from the lowest to the highest.

Run it: python -m t1mini plot runs/train-tiny-0 runs/train-tiny-1 runs/train-tiny-2 --out figures
"""

import csv
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.lab.contrasts import CONTRASTS, table
from t1mini.runs.jsonl import reason
from t1mini.runs.folder import read_rows

STYLES = {"sft": ("#888888", "s", "SFT start"), "half": ("#56b4e9", "^", "RL, half-way"), "rl": ("#d55e00", "o", "RL, final")}
LEARNING = {"accuracy": "accuracy while sampling", "length": "tokens a response", "entropy": "entropy (nats a token)"}


@dataclass(frozen=True)
class PlotConfig(StageConfig):
    runs: tuple = setting(("runs/train-tiny-0",), "run folders of the train stage, or studies", positional=True)
    studies: str = setting("tutorials/studies", "folder of the studies' CSV files")
    text: bool = setting(False, "print studies as tables instead")
    out: str = setting("figures", "folder to write the figures to")


def run(config: PlotConfig) -> None:
    studies = [name for name in config.runs if name in CONTRASTS]
    runs = [name for name in config.runs if name not in CONTRASTS]
    rows = {name: read(f"{config.studies}/{name}.csv", "pass@1", of="the study stage") for name in studies}
    if config.text and runs:
        raise UserError(f"--text: {runs[0]} is no study; the text of a run is its report.txt")
    if config.text:
        print("\n\n".join(table(name, rows[name]) for name in studies))
        return
    read_run = {run: (read(f"{run}/budget_curve.csv", "budget", "accuracy"), read(f"{run}/rl/metrics.csv", "step", *LEARNING)) for run in runs}
    for run, (curve, _) in read_run.items():
        if not STYLES.keys() <= {row.get("policy") for row in curve}:
            raise UserError(f"{run}/budget_curve.csv has not the policies {', '.join(STYLES)}; plot takes run folders of the train stage")
    try:
        import matplotlib
    except ImportError:
        raise UserError("figures need matplotlib: pip install -r tutorials/requirements.txt; studies can be read with --text") from None
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "t1mini", "axes.spines.top": False, "axes.spines.right": False, "font.size": 11})
    from t1mini.lab import study_plots

    folder = Path(config.out)
    folder.mkdir(parents=True, exist_ok=True)
    figures = {name: study_plots.draw(name, rows[name], read_rows(Path(config.studies) / f"{name}-steps.csv")) for name in studies}
    if runs:
        curves, learning = zip(*read_run.values())
        figures |= {"budget_curve": draw_budget_curve(curves), "learning": draw_learning(learning)}
    for name, figure in figures.items():
        study_plots.save(figure, folder / f"{name}.svg")
        print(f"wrote {folder / name}.svg")


def read(path: str, *columns: str, of: str = "the train stage") -> list[dict]:
    """The rows of a CSV file with numbers under `columns`. UserError names the file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {reason(error)}; plot takes what {of} leaves") from None
    if not rows or not all(column in row and is_number(row[column]) for row in rows for column in columns):
        raise UserError(f"{path}: want numbers under {', '.join(columns)}; plot takes what {of} leaves")
    return rows


def is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text))
    except (TypeError, ValueError):
        return False


def draw_budget_curve(runs: Sequence[list[dict]]):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4))
    for policy, (colour, marker, label) in STYLES.items():
        x, mean, low, high = band([[row for row in run if row["policy"] == policy] for run in runs], "budget", "accuracy")
        axes.plot(x, mean, color=colour, marker=marker, label=label)
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="thinking budget (tokens)", ylabel="accuracy on unseen numbers", ylim=(0, 1))
    axes.legend(frameon=False)
    return figure


def draw_learning(runs: Sequence[list[dict]]):
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2))
    for axes, (name, label) in zip(panels, LEARNING.items()):
        x, mean, low, high = band(runs, "step", name)
        axes.plot(x, mean, color="#0072b2")
        axes.fill_between(x, low, high, color="#0072b2", alpha=0.2, linewidth=0)
        axes.set(xlabel="RL update", ylabel=label)
    return figure


def band(runs: list[list[dict]], x: str, y: str) -> tuple[list, list, list, list]:
    """x values present in every run, and mean, lowest and highest y over the runs."""
    values = defaultdict(list)
    for rows in runs:
        for row in rows:
            values[float(row[x])].append(float(row[y]))
    full = {at: ys for at, ys in sorted(values.items()) if len(ys) == len(runs)}
    columns = full.values()
    return list(full), [sum(ys) / len(ys) for ys in columns], [min(ys) for ys in columns], [max(ys) for ys in columns]
