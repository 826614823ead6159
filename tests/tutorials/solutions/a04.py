"""Right answers to exercise 4, with the library's pieces."""

import torch

from t1mini.chain_of_thought import merge
from t1mini.tasks.teacher import attempt_text, critique
from t1mini.tasks.chains import solutions


def make_trace(problem, wrong_attempts, rng):
    chains = [*wrong_attempts, rng.choice(solutions(problem))]
    return merge([attempt_text(c, c.value) for c in chains],
                 [critique(c, c.value, problem.target) for c in chains], str(chains[-1]))


def sft_mask(ids, prompt_len):
    t = torch.arange(max(len(row) for row in ids))
    lengths, starts = torch.tensor([len(row) for row in ids]), torch.tensor(prompt_len)
    return (t >= starts[:, None]) & (t < lengths[:, None])
