"""A page to look at a run: what the policy thinks, and what moved it.

    curves      each column of metrics.csv over the updates, with eval.csv's accuracy and events.csv's signs
    group       one prompt's K responses: rewards, the mean of the others, advantages; their tokens, shaded by
                log-probability, entropy, gap to the reference, or what the update does to them
    thinking    the same held-out problems at each checkpoint, their attempts as a strip
    budget      a response cut at each budget, with the answer it was forced to give
    responses   those of an evaluation

Whatever of these a folder of rl, train, evaluate, scale, sft or a study has, also of a run that goes on, is
put into one HTML file with its script and style. It needs no network and may not use any: what models and
files say is data in it, shown as text, and its policy forbids every address.

Run it: python -m t1mini view runs/rl-tiny-0
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from t1mini.lab.marks import marks
from t1mini.metrics import METRICS
from t1mini.runs.folder import read_rows, write_text
from t1mini.runs.jsonl import parse_object, read_bytes, read_object
from t1mini.runs.settings import StageConfig, UserError, setting
from t1mini.tasks import countdown, maths

LARGEST_FILE, LARGEST_PAGE = 2**29, 9_000_000  # bytes
MOST_POINTS, MOST_RESPONSES = 1000, 200
DEFINITIONS = METRICS | {
    "held_out": "accuracy on problems held out, one response each at temperature 1 (eval.csv), with 95% interval",
    "sft_loss": "SFT: mean negative log-probability of a trace's token, in nats",
}
VERDICT = {"text": "", "correct": False, "repetitive": False, "overlong": False, "garbled": False,
           "length": 0.0, "reward": 0.0}
PROBLEM = {"numbers": [0.0], "target": 0.0, "answer": ""}
GROUP = {"step": 0.0, "prompt": "", "problem": PROBLEM, "responses": [VERDICT | {
    "advantage": 0.0, "kl": 0.0, "tokens": [""], "logprobs": [0.0], "ref_logprobs": [0.0],
    "entropies": [0.0]}]}
ANSWERED = VERDICT | PROBLEM | {"step": 0.0, "prompt": "", "question": ""}
CUTS = {"policy": "", "prompt": "", "tokens": [""],
        "cuts": [{"budget": 0.0, "forced": False, "answer": "", "correct": False}]}


@dataclass(frozen=True)
class ViewConfig(StageConfig):
    runs: tuple = setting(("runs/rl-tiny-0",), "run folders, to be laid over each other", positional=True)
    out: str = setting("", "file to write (default: view.html in the first run's folder)")


def run(config):
    runs = [found for path in config.runs for found in look_into(Path(path))]
    out = Path(config.out or Path(config.runs[0], "view.html"))
    write_text(out, page(runs))
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser")


def page(runs: list[dict]) -> str:
    """The template with the runs in it. Of what is too much, every second row goes, until the rest fits."""
    while True:
        data = json.dumps({"runs": runs, "definitions": DEFINITIONS})
        data = data.replace("<", "\\u003c")  # nothing in it ends the script it stands in
        rows = [of for found in runs for of in found.values() if isinstance(of, list)]
        if len(data) <= LARGEST_PAGE or not any(rows):
            return Path(__file__).with_suffix(".html").read_text("utf-8").replace("@DATA@", data)
        for of in rows:
            del of[1 if of[1:] else 0 :: 2]


def look_into(path: Path) -> list[dict]:
    """What a folder has to show: of a study a set of curves a variant, else one run. UserError where nothing."""
    if found := [*of_study(path)]:
        return found
    rl = path / "rl" if (path / "rl").is_dir() else path
    settings = read_object(rl / "config.json") if (rl / "config.json").exists() else {}
    found = {
        "name": str(path),
        "variant": str(settings.get("variant", "")),
        "settings": {name: str(value) for name, value in settings.items() if value not in ("", [], None)
                     and not isinstance(value, dict)},
        "made_by": {name: str(value) for name, value in fit(settings.get("made_by"), {}).items()},
        "metrics": numbers(rl / "metrics.csv"),
        "held_out": numbers(rl / "eval.csv"),
        "events": [{"step": row["step"], "event": row["event"]} for row in plain_rows(rl / "events.csv")
                   if {"step", "event"} <= row.keys()],
        "sft": numbers(path / "sft/metrics.csv") if rl != path else [],
        "budgets": [row for row in plain_rows(path / "budget_curve.csv") if "policy" in row],
        "groups": [group for group in lines(rl / "groups.jsonl", GROUP) if group["responses"]],
        "thinking": lines(rl / "thinking.jsonl", ANSWERED),
        "cuts": lines(path / "cuts.jsonl", CUTS),
        "responses": lines(path / "responses.jsonl", ANSWERED),
    }
    if not any(of for of in found.values() if isinstance(of, list)):
        raise UserError(f"{path} is no folder of rl, train, sft, evaluate, scale or study that has something "
                        "to show yet")
    limit = settings.get("repeat_limit")
    limit = limit if isinstance(limit, int) else 4
    for group in found["groups"]:
        for response in group["responses"]:
            mark(response, group["problem"], limit)
    for response in [*found["thinking"], *found["responses"]]:
        mark(response, response, limit)
    return [found]


def of_study(path: Path):
    """A study's variants: metrics as means over seeds, and budget curves."""
    for steps in sorted(path.glob("*-steps.csv")):
        curves = plain_rows(steps.with_name(steps.name.replace("-steps", "")))
        variants = defaultdict(lambda: defaultdict(list))
        for row in numbers(steps, also="variant"):
            variants[row.pop("variant")][row.get("step")].append(row)
        for name, of in variants.items():
            means = [{column: mean([row.get(column) for row in rows]) for column in rows[0]} for rows in of.values()]
            seeds = max(map(len, of.values()))
            yield {"name": f"{steps.stem.removesuffix('-steps')}: {name} (mean of {seeds})", "metrics": means,
                   "budgets": budgets_of([row for row in curves if row.get("variant") == name], name)}


def budgets_of(rows, name):
    """A variant's budget curve, as scale writes it: means over seeds, their range for an interval."""
    try:
        budgets = json.loads(rows[0]["budgets"])
        curves = list(zip(*(json.loads(row["curve"]) for row in rows)))
        return [{"policy": name, "budget": float(budget), "accuracy": sum(of) / len(of), "low": min(of),
                 "high": max(of)} for budget, of in zip(budgets, curves)]
    except (LookupError, TypeError, ValueError):
        return []


def mark(response: dict, problem: dict, limit: int):
    """Adds what marks.py finds in a response. Of a problem that is neither task's, nothing is known."""
    given = [int(number) for number in problem["numbers"]]
    asked = (countdown.Problem(tuple(given), int(problem["target"])) if given and problem["target"]
             else maths.Problem("", problem["answer"]))
    response["marks"] = marks(asked, response["text"], response.get("tokens", []), limit)


def mean(values):
    known = [x for x in values if x is not None]
    return sum(known) / len(known) if known else None


# --- files that may be of a run that goes on, or of anyone

def plain_rows(file: Path):
    """The rows of a CSV file, numbers where they are some: at most MOST_POINTS, evenly."""
    read_bytes(file, LARGEST_FILE) if file.exists() else None  # says what is wrong with it
    try:
        rows = read_rows(file)
    except ValueError as error:
        raise UserError(f"cannot read {file}: {error}") from None
    rows = rows[:: -(-len(rows) // MOST_POINTS) or 1]
    return [{f"{name}": number(value) for name, value in row.items()} for row in rows]


def numbers(file: Path, also=""):
    """Those rows, what is no number left out, but for one column."""
    return [{name: value for name, value in row.items() if not isinstance(value, str) or name == also}
            for row in plain_rows(file)]


def number(text):
    """
    >>> number("0.5"), number("nan"), number("sft")
    (0.5, None, 'sft')
    """
    try:
        value = float(text)
    except (TypeError, ValueError):
        return str(text)[:200]
    return value if math.isfinite(value) else None


def lines(file: Path, shape: dict):
    """The objects of a .jsonl file, in that shape; a last line that is being written does not count."""
    whole, _, _ = (read_bytes(file, LARGEST_FILE) if file.exists() else b"").rpartition(b"\n")
    rows = [line for line in whole.split(b"\n") if line.strip()]
    if shape is ANSWERED:
        rows = rows[:MOST_RESPONSES]
    return [fit(parse_object(line, f"{file}, line {i}"), shape) for i, line in enumerate(rows, 1)]


def fit(value, shape):
    """`value` where it has a shape, parts of it that have another left out.

    >>> fit({"step": 3, "text": 5, "more": 1}, {"step": 0.0, "text": "", "ids": [0.0]})
    {'step': 3.0, 'text': '', 'ids': []}
    """
    if isinstance(shape, dict):
        value = value if isinstance(value, dict) else {}
        return {name: fit(value.get(name), of) for name, of in shape.items()} if shape else value
    if isinstance(shape, list):
        return [fit(x, shape[0]) for x in value] if isinstance(value, list) else []
    if isinstance(shape, float):
        return float(value) if isinstance(value, (int, float)) and abs(value) < 1e15 else 0.0
    return value if isinstance(value, type(shape)) else shape
