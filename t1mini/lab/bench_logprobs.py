"""Bench of token_logprobs: scoring a vocabulary of 151,936 without its logits, against the twin that holds them all.

Peak memory and seconds, each in a process of its own, since a process's peak never falls.

Run it: python -m t1mini bench logprobs
"""

import multiprocessing
import resource
import time

import torch

from t1mini.loss import logprobs_from_logits, token_entropy, token_logprobs

MOST_LOGITS = 2**29  # numbers the slow twin may hold: 2 GiB


def bench_logprobs(config) -> str:
    """Peak memory and seconds of token_logprobs and, where its logits fit, of its twin."""
    lines = [f"{config.tokens} tokens x hidden {config.hidden} x vocabulary {config.vocab}, float32, forward and backward"]
    for twin in [False, True] if config.tokens * config.vocab <= MOST_LOGITS else [False]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            gigabytes, seconds = pool.apply(measure_logprobs, (config, twin))
        lines.append(f"{'full logits' if twin else 'token_logprobs':16}{gigabytes:8.2f} GB above inputs and gradients{seconds:8.1f} s")
    return "\n".join(lines)


def measure_logprobs(config, twin: bool) -> tuple[float, float]:
    """Peak gigabytes beyond the inputs and their gradients, and seconds."""
    torch.set_num_threads(config.to_dict()["threads"])
    torch.manual_seed(config.seed)
    hidden = torch.randn(config.tokens, config.hidden, requires_grad=True)
    weight = (0.02 * torch.randn(config.vocab, config.hidden)).requires_grad_()
    targets = torch.randint(config.vocab, (config.tokens,))
    for x in (hidden, weight):
        x.grad = torch.zeros_like(x)
    before, began = peak_bytes(), time.perf_counter()
    if twin:
        logits = hidden @ weight.T
        ids = torch.cat([targets[:1], targets])[None]  # position t scores token t + 1
        logprobs = logprobs_from_logits(torch.cat([logits, logits[:1]])[None], ids, 1.2)[0, 1:]
        entropy = token_entropy(logits / 1.2)
    else:
        logprobs, entropy = token_logprobs(hidden, weight, targets, 1.2)
    (logprobs.sum() + entropy.sum()).backward()
    return (peak_bytes() - before) / 1e9, time.perf_counter() - began


def peak_bytes() -> int:
    """The most memory this process has had (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
