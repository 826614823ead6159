"""Contrasts: what the rows of a study say, each with a 95% interval.

    accuracy    a weighted sum of variants' scores on the same test problems and seeds, such as RL - SFT; its interval comes from a
                bootstrap over problems and seeds, for both are samples of what could have been
    length, KL  one figure a seed; paired differences between variants over the seeds, with Student's t

An interval that excludes 0 is a finding, at this scale; one that does not is none.

See a study's table: python -m t1mini plot thinking-budget --text
"""

import json
from typing import NamedTuple

import numpy as np

from t1mini.statistics import crossed_bootstrap, t_interval


class Contrast(NamedTuple):
    """sum of weight * score over `terms`: (weight, variant, budget in tokens or 0 for no cut). Or of `column`, a figure a run."""

    says: str
    terms: tuple
    column: str = ""


def differ(a: str, b: str, column: str = "", says: str = "") -> Contrast:
    return Contrast(says or f"{column or 'accuracy'}, {a} - {b}", ((1, a, 0), (-1, b, 0)), column)


def steeper(late: str, early: str, low: int, high: int) -> Contrast:
    """How much more `late` gains from `low` to `high` tokens than `early`."""
    terms = (1, late, high), (-1, late, low), (-1, early, high), (1, early, low)
    return Contrast(f"gain from {low} to {high} tokens, {late} - {early}", terms)


CONTRASTS = {
    "thinking-budget": [
        *(Contrast(f"accuracy, {share}: 192 tokens - 48 tokens", ((1, share, 192), (-1, share, 48))) for share in ("0% of RL", "100% of RL")),
        *(steeper(late, "0% of RL", 48, 192) for late in ("30% of RL", "60% of RL", "100% of RL")),
        differ("100% of RL", "0% of RL", "length"), differ("100% of RL", "0% of RL", "recovered")],
    "start": [differ("trial and error, RL", "clean solutions, RL"), differ("trial and error, SFT", "clean solutions, SFT"),
              differ("trial and error, RL", "trial and error, SFT"), differ("clean solutions, RL", "clean solutions, SFT"),
              differ("trial and error, RL", "clean solutions, RL", "length")],
    "sizes": [differ(f"{size}, RL", f"{size}, SFT") for size in ("small", "middle", "large")],
    "penalties": [differ("all penalties", other) for other in ("none", "only repetitive", "only overlong", "only garbled")]
    + [differ("none", "all penalties", column) for column in ("length", "repetitive", "overlong", "garbled")],
    "oversampling": [differ("K = 64, 32 prompts", "K = 4, 32 prompts"), differ("K = 64, 32 prompts", "K = 16, 32 prompts"),
                     differ("K = 16, 32 prompts", "K = 4, 32 prompts"), differ("K = 64, 512 responses", "K = 4, 512 responses"),
                     *(differ("K = 64, 32 prompts", "K = 4, 32 prompts", column) for column in ("length", "last_kl"))],
    "temperature": [differ("temperature 1.2", other) for other in ("temperature 0.9", "temperature 1.0", "temperature 1.1", "temperature 1.3")]
    + [differ("1.2 with min-p 0.05", "temperature 1.2")],
    "reference": [differ("EMA 0.99", "frozen"), differ("EMA 0.9", "frozen"), differ("none", "frozen"), differ("EMA 0.9", "frozen", "last_kl")],
    "entropy": [differ(f"entropy bonus {alpha}", "entropy bonus 0.0", column) for column in ("", "pass@16", "last_entropy") for alpha in (0.001, 0.01, 0.03)],
    "credit": [differ(other, "leave-one-out", column) for column in ("", "length")
               for other in ("group mean", "over the standard deviation", "shared out over tokens")],
    "difficulty": [differ("hard problems", "all problems"), differ("hard problems", "all problems", "length")],
}


def table(name: str, rows: list[dict[str, str]]) -> str:
    """A study's variants, then its contrasts, as text."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    width = max(map(len, variants)) + 2
    columns = ("pass@1", "length", "repetitive", "overlong", "last_kl", "last_entropy")
    lines = [f"{name:{width}}{'seeds':>6}" + "".join(f"{column:>14}" for column in columns)]
    for variant in variants:
        of = [row for row in rows if row["variant"] == variant]
        lines.append(f"{variant:{width}}{len(of):>6}" + "".join(f"{_mean(of, column):>14}" for column in columns))
    lines.append("")
    for contrast in CONTRASTS[name]:
        found = estimate(contrast, rows)
        lines.append(f"{contrast.says}: " + (f"{show(contrast, found)}, {verdict(found)}" if found else "needs rows that are not there"))
    return "\n".join(lines)


def estimate(contrast: Contrast, rows: list[dict[str, str]]) -> tuple[float, float, float, int] | None:
    """(estimate, low, high, seeds), over the seeds that every term has; None where there is none (or, of a figure a run, one)."""
    by = {(row["variant"], row["seed"]): row for row in rows}
    seeds = [seed for seed in dict.fromkeys(row["seed"] for row in rows) if all((variant, seed) in by for _, variant, _ in contrast.terms)]
    if not seeds:
        return None
    if contrast.column:
        values = [sum(weight * float(by[variant, seed][contrast.column]) for weight, variant, _ in contrast.terms) for seed in seeds]
        return (float(np.mean(values)), *t_interval(values), len(seeds)) if len(seeds) > 1 else None
    scores = np.array([sum(weight * problem_scores(by[variant, seed], budget) for weight, variant, budget in contrast.terms) for seed in seeds])
    return (float(scores.mean()), *crossed_bootstrap(scores, seed=0), len(seeds))


def problem_scores(row: dict[str, str], budget: int = 0) -> np.ndarray:
    """The share of right responses to each test problem [problems], without a cut or at a budget."""
    digits = row["curve_correct"].split()[json.loads(row["budgets"]).index(budget)] if budget else row["correct"]
    return np.array([int(digit, 36) for digit in digits]) / int(row["samples"])


def show(contrast: Contrast, found: tuple[float, float, float, int]) -> str:
    """Accuracy in points, anything else as it is."""
    scale, unit = (1, "") if contrast.column else (100, " points")
    estimate, low, high, seeds = found
    return f"{scale * estimate:+.3g}{unit} ({scale * low:+.3g} to {scale * high:+.3g}; {seeds} seed{'s' * (seeds > 1)})"


def verdict(found: tuple[float, float, float, int]) -> str:
    _, low, high, _ = found
    return "more" if low > 0 else "less" if high < 0 else "not told apart"


def _mean(rows: list[dict[str, str]], column: str) -> str:
    values = [float(row[column]) for row in rows if row[column]]
    return f"{np.mean(values):.3f}" if values else "-"
