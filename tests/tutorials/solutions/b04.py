"""Right answers to exercise 4, from nothing."""

import torch

from t1mini.tasks.chains import solutions


def attempt(chain):
    (a, b, c), (op1, op2), (first, value) = chain
    return f"{a} {op1} {b} = {first} {op2} {c} = {value}"


def make_trace(problem, wrong_attempts, rng):
    words = []
    for chain in wrong_attempts:
        words += [attempt(chain), "low" if chain.value < problem.target else "high"]
    found = solutions(problem)
    s = found[rng.randrange(len(found))]
    (a, b, c), (op1, op2), (first, value) = s
    words.append(attempt(s))
    words.append(f"check {a} {op1} {b} = {first} , {first} {op2} {c} = {value} ok")
    return " ".join(words) + f" answer {a} {op1} {b} {op2} {c}"


def sft_mask(ids, prompt_len):
    width = max(map(len, ids))
    rows = []
    for row, start in zip(ids, prompt_len):
        rows.append([0] * start + [1] * (len(row) - start) + [0] * (width - len(row)))
    return torch.tensor(rows).bool()
