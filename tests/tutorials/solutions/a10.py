"""Right answers to exercise 10."""

import math

import numpy as np


def truncate_thinking(ids, budget, end_id):
    ids = list(ids)
    end = ids.index(end_id) if end_id in ids else len(ids)
    return ids[: min(budget, end)]


def wilson_interval(c, n):
    z, p = 1.96, c / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def paired_bootstrap(a, b, generator):
    d = (np.asarray(a) - np.asarray(b)).reshape(len(a), -1).mean(1)
    means = d[generator.integers(len(d), size=(2000, len(d)))].mean(1)
    return tuple(np.percentile(means, [2.5, 97.5]))


FOUND = {1: ("sign",
             "return -objective.masked_fill(~mask.bool(), 0.0).sum() / normaliser"),
         2: ("noise",
             "return fold(fold(seed, step), indices[:, None], torch.arange(k)).flatten().to(model.device)"),
         3: ("verifier", 'return answer is not None and _reaches(problem, answer.split(" "))'),
         4: ("coefficient", "objective = objective + entropy_coef * entropy"),
         5: ("gradients", "self.adamw.step()\nself.adamw.zero_grad()"),
         6: ("decay", "ref.lerp_(parameter.to(ref.device, ref.dtype), 1 - decay)"),
         7: ("overlong", "return length >= max_new_tokens and not finished"),
         8: ("rows", "loss = policy_gradient_loss(logprobs, advantages.flatten()[rows], mask, entropy=entropy,"),
         9: ("detached", "objective = advantages.detach()[:, None] * logprobs"),
         10: ("limit", "return max(counts.values(), default=0) > limit"),
         11: ("kept set", "return truncate(z, min_p=min_p).scatter(-1, token_ids, z.gather(-1, token_ids))")}

def accuracy_at(budget, lengths, finished, own, forced):
    import numpy as np
    return float(np.where(finished & (lengths <= budget), own, forced).mean())
