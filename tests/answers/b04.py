"""Right answers to exercise 4, from nothing."""

import torch

from t1mini.countdown import solutions


def make_trace(problem, wrong_attempts, rng):
    words = []
    for chain in wrong_attempts:
        words += [
            f"{chain.a} {chain.op1} {chain.b} = {chain.first} {chain.op2} {chain.c} = {chain.value}",
            "low" if chain.value < problem.target else "high",
        ]
    found = solutions(problem)
    s = found[rng.randrange(len(found))]
    words.append(f"{s.a} {s.op1} {s.b} = {s.first} {s.op2} {s.c} = {s.value}")
    words.append(f"check {s.a} {s.op1} {s.b} = {s.first} , {s.first} {s.op2} {s.c} = {s.value} ok")
    return " ".join(words) + f" answer {s.a} {s.op1} {s.b} {s.op2} {s.c}"


def sft_mask(ids, prompt_len):
    width = max(map(len, ids))
    rows = []
    for row, start in zip(ids, prompt_len):
        rows.append([0] * start + [1] * (len(row) - start) + [0] * (width - len(row)))
    return torch.tensor(rows)
