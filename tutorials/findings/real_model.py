"""What tutorials/real_model.md says of its run: rows and paired differences, from its commands' folders.

    RUNS/SEED/PROBLEMS-POLICY/responses.jsonl       of evaluate, such as runs/135m/0/svamp-rl

A SEED that is no number names another recipe: it has its rows, and is not pooled with the seeds.

A row a folder, in RUNS/rows.csv, or added to those of another table, where it replaces its former self (the
page's are tutorials/findings/real_model.csv and, of the controls, real_model_controls.csv):

    over                    the policy of the same SEED that it is compared with: `sft`, or that of --over
    pass@1, low, high       share of right responses, with the 95% interval over problems
    turned, recovered       share of responses whose thinking turns round (Countdown: a second attempt), and
                            share of those that end right
    planned, calculated     share whose last equation, worked out, is the answer, and share of those that hold
                            (not of Countdown)
    gain, from, to          share of right responses above that of `over`, paired by problem, with the 95%
                            interval

Printed are the gains over all seeds of the table: one seed's interval is over problems, that of several is
Student's t over the seeds.

Run it: python tutorials/findings/real_model.py runs/135m
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from t1mini.statistics import clustered_interval, paired_bootstrap, t_interval
from t1mini.tasks.critiques import equations
from t1mini.verifier import answers_equal

TURNS = ("Wait,", "Hmm,", "Let me verify")  # how t1mini.tasks.critiques begins to doubt
KEY = ("seed", "problems", "policy", "over")


def main(runs: Path, table: Path, over: str = "sft"):
    folders = sorted(path.parent for path in runs.glob("*/*-*/evaluation.json"))
    if not folders:
        stop(f"{runs}: it holds no SEED/PROBLEMS-POLICY that evaluate has written")
    old = list(csv.DictReader(table.open(newline=""))) if table.is_file() else []
    if not table.parent.is_dir() or table.is_dir() or any(not row.keys() >= {*KEY} for row in old):
        stop(f"--table {table}: name a CSV file of this command, or a new one in a folder that is there")
    rows = {tuple(row[name] for name in KEY): row for row in old + measured(folders, over)}
    rows = [rows[key] for key in sorted(rows)]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows({name: round(x, 4) if isinstance(x, float) else x for name, x in row.items()}
                         for row in rows)
    pooled = {}
    for row in rows:
        if row["seed"].isdigit() and row.get("gain") not in (None, ""):
            pooled.setdefault(tuple(row[name] for name in KEY[1:]), []).append(row)
    for (problems, policy, over), seeds in pooled.items():
        gains = [100 * float(row["gain"]) for row in seeds]
        one = [100 * float(seeds[0][name]) for name in ("from", "to")]
        low, high = t_interval(gains) if len(gains) > 1 else one
        print(f"{problems:12} {policy:12} over {over}, {len(gains)} seed(s): "
              f"{np.mean(gains):+.1f} points ({low:+.1f} to {high:+.1f})")
    print(f"wrote {table}")


def stop(why):
    print(why, file=sys.stderr)
    sys.exit(2)


def measured(folders, over):
    """A row of each folder, that of policy `over` before those that are compared with it."""
    scores, rows = {}, []
    for folder in sorted(folders, key=lambda folder: folder.name.split("-", 1)[1] != over):
        results = json.loads((folder / "evaluation.json").read_text())
        responses = [json.loads(line) for line in (folder / "responses.jsonl").open()]
        correct = np.array([row["correct"] for row in responses], dtype=float).reshape(-1, results["samples"])
        turned = list(filter(turns, responses))
        problems, policy = folder.name.split("-", 1)
        scores[folder.parent.name, problems, policy] = correct
        row = dict(zip(KEY, (folder.parent.name, problems, policy, over if policy != over else "")))
        row |= {"n": len(correct), "samples": results["samples"], "pass@1": correct.mean().item()}
        row |= dict(zip(("low", "high"), clustered_interval(correct)))
        shown = ("length", "repetitive", "overlong", "garbled",
                 *(f"{name}@{results['samples']}" for name in ("pass", "majority")))
        row |= {name: results[name] for name in shown if name in results}
        row |= {"turned": len(turned) / len(responses),
                "recovered": sum(row["correct"] for row in turned) / max(1, len(turned))}
        if "target" not in responses[0]:
            row |= dict(zip(("planned", "calculated"), plans(responses)))
        start = scores.get((folder.parent.name, problems, over))
        if start is not None and policy != over:
            low, high = paired_bootstrap(correct, start, 0)
            row |= {"gain": (correct.mean() - start.mean()).item(), "from": low, "to": high}
        rows.append(row | {"commit": results["made_by"]["commit"], "torch": results["made_by"]["torch"]})
    return rows


def turns(row):
    """Whether a response doubts an attempt, or in Countdown makes another."""
    return row["attempts"] > 1 if "target" in row else any(word in row["text"] for word in TURNS)


def plans(responses):
    """Of the last equation of each response's thinking: is it the one to work out, and does it hold?"""
    holds = []
    for row in responses:
        for _, said, right in equations(row["text"].rpartition("</think>")[0])[-1:]:
            if answers_equal(right or said, row["answer"]):
                holds.append(not right)
    return len(holds) / len(responses), sum(holds) / max(1, len(holds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of SEED/PROBLEMS-POLICY")
    parser.add_argument("--table", type=Path, help="CSV file that the rows go to, or into (RUNS/rows.csv)")
    parser.add_argument("--over", default="sft", help="policy that the others are compared with (sft)")
    args = parser.parse_args()
    main(args.runs, args.table or args.runs / "rows.csv", args.over)
