"""Right answers to exercise 10, other ways."""

import numpy as np


def truncate_thinking(ids, budget, end_id):
    out = []
    for token in ids:
        if token == end_id or len(out) >= budget:
            break
        out.append(token)
    return out


def wilson_interval(c, n):
    z2 = 1.959963984540054**2
    low, high = np.roots([n + z2, -(2 * c + z2), c * c / n])[::-1].real
    return np.array([low, high])


def paired_bootstrap(a, b, generator):
    n, means = len(a), []
    for _ in range(2000):
        pick = generator.choice(n, n, replace=True)
        means.append(a[pick].mean() - b[pick].mean())
    means.sort()
    return [means[49], means[1949]]


FOUND = {1: ["sign", "    return -(objective * mask).sum() / normaliser"],
         5: ["gradients",
             "for group in self.adamw.param_groups:\n    pass\nself.adamw.step()\nself.model.zero_grad()"],
         7: ["overlong", "return not finished and length == max_new_tokens"],
         9: ["detached", "objective = advantages[:, None] * logprobs"]}

def accuracy_at(budget, lengths, finished, own, forced):
    right = 0
    for n, done, a, b in zip(lengths, finished, own, forced):
        right += a if done and n <= budget else b
    return right / len(lengths)
