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

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from t1mini.lab.marks import marks
from t1mini.lab.plot import groups, rows_of_study
from t1mini.metrics import METRICS
from t1mini.runs.folder import read_rows, write_text
from t1mini.runs.jsonl import parse_object, read_bytes, read_object
from t1mini.runs.settings import StageConfig, UserError, setting

LARGEST_FILE, LARGEST_PAGE = 2**29, 9_000_000  # bytes
MOST_ROWS = 1000  # of a table, or responses of an evaluation


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
    """The template with the runs in it. Of what is longest, every second row goes, until all fits."""
    while True:
        # nothing in it ends the script it stands in
        data = json.dumps({"runs": runs, "definitions": METRICS}).replace("<", "\\u003c")
        parts = [rows for found in runs for rows in found.values() if isinstance(rows, list) and rows]
        if len(data) <= LARGEST_PAGE or not parts:
            return Path(__file__).with_suffix(".html").read_text("utf-8").replace("@DATA@", data)
        longest = max(parts, key=lambda rows: len(f"{rows}"))
        del longest[len(longest) > 1 :: 2]


def look_into(path: Path) -> list[dict]:
    """What a folder has to show: of a study curves of each variant, else one run. UserError where nothing."""
    if studies := sorted(path.glob("*-steps.csv")):
        return [found for steps in studies for found in of_study(steps)]
    rl = path / "rl" if (path / "rl").is_dir() else path
    settings = read_object(rl / "config.json") if (rl / "config.json").exists() else {}
    limit = settings.get("repeat_limit", 4)
    with_marks = lambda row: marked(row, row, limit)
    found = {
        "metrics": table(rl / "metrics.csv"),
        "eval": table(rl / "eval.csv"),
        "events": table(rl / "events.csv"),
        "sft": table(path / "sft/metrics.csv"),
        "budgets": table(path / "budget_curve.csv"),
        "groups": lines(rl / "groups.jsonl", lambda row: {"responses": [
            response | marked(row["problem"], response, limit) for response in row["responses"]]}),
        "thinking": lines(rl / "thinking.jsonl", with_marks),
        "cuts": lines(path / "cuts.jsonl", lambda row: {}),
        "responses": lines(path / "responses.jsonl", with_marks),
    }
    if not any(found.values()):
        raise UserError(f"{path} is no folder of rl, train, sft, evaluate, scale or study that has something "
                        "to show yet")
    return [found | {"name": str(path), "settings": settings}]


def of_study(steps: Path):
    """A study's variants: metrics as means over seeds, and budget curves with the range of the seeds."""
    name = steps.stem.removesuffix("-steps")
    try:
        found = rows_of_study(name, steps.parent)
        for variant, rows in groups(found["step"], "variant").items():
            columns = [column for column in rows[0] if column not in ("variant", "seed")]
            metrics = [{column: fmean(float(row[column]) for row in of) for column in columns}
                       for of in groups(rows, "step").values()]
            tests = groups([row for row in found["budget"] if row["variant"] == variant], "budget")
            tests = {budget: [row["test"] / 100 for row in of] for budget, of in tests.items()}
            budgets = [{"policy": variant, "budget": budget, "accuracy": fmean(of), "low": min(of),
                        "high": max(of)} for budget, of in tests.items()]
            yield {"name": f"{name}: {variant}", "settings": {}, "metrics": metrics, "budgets": budgets}
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{steps}: its rows are not as study leaves them: {error!r}") from None


def marked(problem: dict, response: dict, limit: int):
    return {"marks": marks(problem, response["text"], response.get("tokens", []), limit)}


def table(file: Path):
    """The rows of a CSV file as they are, at most MOST_ROWS, evenly."""
    try:
        rows = read_rows(file)
    except (ValueError, csv.Error) as error:
        raise UserError(f"cannot read {file}: {error}") from None
    return rows[:: -(-len(rows) // MOST_ROWS) or 1]


def lines(file: Path, seen):
    """The objects of a .jsonl file, with what is `seen` in them. A last line without end is left out."""
    whole, _, _ = (read_bytes(file, LARGEST_FILE) if file.exists() else b"").rpartition(b"\n")
    rows = []
    for i, line in enumerate(whole.splitlines()[:MOST_ROWS], 1):
        row = parse_object(line, f"{file}, line {i}")
        try:
            rows.append(row | seen(row))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"{file}, line {i}: not as a run leaves it: {error!r}") from None
    return rows
