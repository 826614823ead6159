"""Figures of a study: a dot a run, and RL on the way there.

    left     accuracy on the test problems: a dot a seed, a bar at their mean (thinking-budget: the budget curves)
    right    what RL's metrics said, update by update; for K and the reference also reward against KL

Lines are means over seeds, bands run from the lowest to the highest; colours are those of Okabe and Ito, which the colour-blind can
tell apart, and every line has its own dashes for print.

Run it: python -m t1mini plot start --out figures
"""

import json
from pathlib import Path

import numpy as np

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
LABELS = {"step": "RL update", "accuracy": "accuracy while sampling", "length": "tokens a response", "entropy": "entropy (nats a token)",
          "kl": "KL to the reference (nats a response)", "reward": "reward", "repetitive": "share repetitive", "overlong": "share overlong",
          "garbled": "share garbled"}
PANELS = {"oversampling": (("step", "accuracy"), ("step", "length"), ("kl", "reward")),
          "reference": (("step", "accuracy"), ("step", "kl"), ("kl", "reward")),
          "penalties": (("step", "length"), ("step", "repetitive"), ("step", "overlong"), ("step", "garbled"))}
DEFAULT_PANELS = (("step", "accuracy"), ("step", "length"), ("step", "entropy"))


def draw(name: str, rows: list[dict[str, str]], steps: list[dict[str, str]]):
    """The figure of a study, from its two CSV files."""
    import matplotlib.pyplot as plt  # not needed to read this file, or to print a table

    variants = list(dict.fromkeys(row["variant"] for row in rows))
    panels = PANELS.get(name, DEFAULT_PANELS) if steps else ()
    figure, axes = plt.subplots(1, 1 + len(panels), figsize=(4.4 + 3.4 * len(panels), 3.6), squeeze=False)
    (budget_curves if name == "thinking-budget" else dots)(axes[0, 0], variants, rows)
    for ax, (x, y) in zip(axes[0, 1:], panels):
        for i, variant in enumerate(variants):
            if name == "thinking-budget" and variant != variants[-1]:
                continue  # earlier moments of the same runs
            path(ax, [step for step in steps if step["variant"] == variant], x, y, i, variant)
        ax.set(xlabel=LABELS[x], ylabel=LABELS[y])
    if panels:
        axes[0, 1].legend(frameon=False, fontsize=7)
    return figure


def dots(ax, variants: list[str], rows: list[dict[str, str]]) -> None:
    for i, variant in enumerate(variants):
        values = [100 * float(row["pass@1"]) for row in rows if row["variant"] == variant]
        ax.plot(values, [i] * len(values), "o", color=COLOURS[i % len(COLOURS)], alpha=0.7)
        ax.plot([np.mean(values)] * 2, [i - 0.3, i + 0.3], color="black", linewidth=1.5)
    ax.set(yticks=range(len(variants)), yticklabels=variants, xlabel="pass@1 on test problems (%)")
    ax.invert_yaxis()


def budget_curves(ax, variants: list[str], rows: list[dict[str, str]]) -> None:
    for i, variant in enumerate(variants):
        of = [row for row in rows if row["variant"] == variant]
        curves = 100 * np.array([json.loads(row["curve"]) for row in of])  # [seeds, budgets]
        band(ax, json.loads(of[0]["budgets"]), curves, i, variant)
    ax.set(xlabel="thinking budget (tokens)", ylabel="accuracy on test problems (%)")
    ax.legend(frameon=False, fontsize=7)


def path(ax, steps: list[dict[str, str]], x: str, y: str, i: int, label: str) -> None:
    """Smoothed over five updates; against anything but the update's number, the mean over seeds only."""
    series = {column: [smooth([float(s[column]) for s in steps if s["seed"] == seed]) for seed in dict.fromkeys(s["seed"] for s in steps)]
              for column in (x, y)}
    shortest = min(map(len, series[y]), default=0)
    if shortest:
        xs, ys = (np.array([values[:shortest] for values in series[column]]) for column in (x, y))
        band(ax, xs.mean(axis=0), ys if x == "step" else ys.mean(axis=0, keepdims=True), i, label)


def smooth(values: list[float], width: int = 5) -> np.ndarray:
    return np.convolve(values, np.ones(width) / width, mode="valid") if len(values) >= width else np.array(values)


def band(ax, x, ys: np.ndarray, i: int, label: str) -> None:
    colour = COLOURS[i % len(COLOURS)]
    ax.plot(x, ys.mean(axis=0), color=colour, linestyle=DASHES[i % len(DASHES)], label=label)
    if len(ys) > 1:
        ax.fill_between(x, ys.min(axis=0), ys.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def save(figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
