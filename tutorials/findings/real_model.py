"""What tutorials/real_model.md says of its run: rows and paired differences, from its commands' folders.

    RUNS/SEED/PROBLEMS-POLICY/responses.jsonl       of evaluate, such as runs/135m/0/svamp-rl

A SEED that is no number names another recipe: it has its rows, and is not pooled with the seeds.

A row a folder, in tutorials/findings/real_model.csv:

    pass@1, low, high       share of right responses, with the 95% interval over problems
    turned, recovered       share of responses whose thinking turns round (Countdown: a second attempt), and
                            share of those that end right
    planned, calculated     share whose last equation, worked out, is the answer, and share of those that hold
                            (not of Countdown)
    gain, from, to          points over the policy `sft` on the same problems, with the paired 95% interval

Run it: python tutorials/findings/real_model.py runs/135m
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from t1mini.statistics import clustered_interval, crossed_bootstrap, paired_bootstrap
from t1mini.tasks.critiques import equations
from t1mini.verifier import answers_equal

TABLE = Path(__file__).with_suffix(".csv")
TURNS = ("Wait,", "Hmm,", "Let me verify")  # how t1mini.tasks.critiques begins to doubt


def main(runs: Path):
    folders = sorted(path.parent for path in runs.glob("*/*/evaluation.json"))
    if not folders:
        print(f"{runs}: it holds no SEED/PROBLEMS-POLICY that evaluate has written", file=sys.stderr)
        sys.exit(2)
    scores, rows = {}, []
    for folder in folders:
        results = json.loads((folder / "evaluation.json").read_text())
        responses = [json.loads(line) for line in (folder / "responses.jsonl").open()]
        correct = np.array([row["correct"] for row in responses], dtype=float).reshape(-1, results["samples"])
        turned = list(filter(turns, responses))
        problems, policy = folder.name.split("-", 1)
        scores[problems, policy, folder.parent.name] = correct
        row = {"seed": folder.parent.name, "problems": problems, "policy": policy, "n": len(correct),
               "samples": results["samples"], "pass@1": correct.mean()}
        row |= dict(zip(("low", "high"), clustered_interval(correct)))
        shown = ("length", "repetitive", "overlong", "garbled",
                 *(f"{name}@{results['samples']}" for name in ("pass", "majority")))
        row |= {name: results[name] for name in shown}
        row |= {"turned": len(turned) / len(responses),
                "recovered": sum(row["correct"] for row in turned) / max(1, len(turned))}
        if "target" not in responses[0]:
            row |= dict(zip(("planned", "calculated"), plans(responses)))
        rows.append(row | {"commit": results["made_by"]["commit"], "torch": results["made_by"]["torch"]})
    for row in rows:
        key = row["problems"], row["policy"], row["seed"]
        start = scores.get((row["problems"], "sft", row["seed"]))
        if start is not None and row["policy"] != "sft":
            low, high = paired_bootstrap(scores[key], start, 0)
            row |= {"gain": row["pass@1"] - start.mean(), "from": low, "to": high}
    names = list(dict.fromkeys(name for row in rows for name in row))
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: round(x, 4) if isinstance(x, float) else x for name, x in row.items()}
                         for row in rows)
    for problems in dict.fromkeys(row["problems"] for row in rows):
        for policy in dict.fromkeys(row["policy"] for row in rows):
            seeds = [seed for p, q, seed in scores
                     if (p, q) == (problems, policy) and (p, "sft", seed) in scores and seed.isdigit()]
            if seeds and policy != "sft":
                pairs = [(scores[problems, policy, seed], scores[problems, "sft", seed]) for seed in seeds]
                gains = np.array([(a - b).mean(1) for a, b in pairs])
                low, high = crossed_bootstrap(gains, 0)
                print(f"{problems:12} {policy:8} over sft, {len(seeds)} seed(s): "
                      f"{100 * gains.mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})")
    print(f"wrote {TABLE}")


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
    main(parser.parse_args().runs)
