"""The update: log-probabilities of rollouts under a model, and the gradient of the loss over them, a micro-batch at a time.

    the whole loss is a sum over response tokens, divided by their number in the whole batch, so micro-batches of any cut
    add up to the same gradient; rows without gradient are left out, and nothing that the rollout knows is computed again
    but what the gradient needs

`config` has k, temperature, entropy_coef, micro_batch_tokens, precision and device: t1mini.rl's.

See the gradient equal the README's equation: python -m pytest tests/test_rl.py
"""

from typing import Sequence

import torch
from torch import Tensor

from t1mini.runs.batches import micro_batches
from t1mini.runs.clock import Clock
from t1mini.loss import policy_gradient_loss
from t1mini.runs.machine import compute_precision
from t1mini.model import Qwen
from t1mini.rollout import Rollouts, score


@torch.no_grad()
def score_rollouts(model: Qwen, prompts: list[list[int]], rollouts: Rollouts, config, vocab_limit: int) -> Tensor:
    """Log-probabilities of the sampled tokens under `model`, at the sampling temperature: [N, T]."""
    logprobs = torch.zeros_like(rollouts.logprobs)
    rows, lengths = range(len(rollouts.lengths)), sequence_lengths(prompts, rollouts)
    for rows in scoring_batches(rows, prompts, lengths, config.k, config.micro_batch_tokens):
        part, _, _ = score_rows(model, prompts, rollouts, rows, config, vocab_limit)
        logprobs[rows, : part.shape[1]] = part
    return logprobs


def accumulate_gradients(policy: Qwen, prompts, rollouts: Rollouts, advantages: Tensor, tokens: Tensor, config,
                         vocab_limit: int, clock: Clock | None = None) -> dict[str, float]:
    """Adds the gradient of these rows' part of the loss to `policy`, micro-batch by micro-batch. advantages [N]

    `tokens` normalises: the response tokens of the whole batch. A row with advantage 0 and no entropy bonus has no gradient
    and is skipped; its tokens still count there. Returns sums over the rows, the largest log-probability gap, and the share of the
    micro-batches' rectangles that is padding.
    """
    lengths = sequence_lengths(prompts, rollouts)
    rows = [row for row, advantage in enumerate(advantages.tolist()) if advantage != 0 or config.entropy_coef > 0]
    loss = entropy_sum = gap = torch.zeros((), device=advantages.device)
    updated_tokens = rectangles = 0
    clock = clock or Clock(config.device)
    for picked in scoring_batches(rows, prompts, lengths, config.k, config.micro_batch_tokens):
        logprobs, entropy, mask = score_rows(policy, prompts, rollouts, picked, config, vocab_limit)  # [n, T]
        part = policy_gradient_loss(logprobs, advantages[picked], mask, entropy=entropy,
                                    entropy_coef=config.entropy_coef, normaliser=tokens)
        clock.lap("forward")
        part.backward()
        clock.lap("backward")
        loss = loss + part.detach()
        entropy_sum = entropy_sum + entropy.detach().sum()
        gap = torch.maximum(gap, (logprobs.detach() - rollouts.logprobs[picked, : mask.shape[1]]).abs().max())
        updated_tokens += int(rollouts.lengths[picked].sum())
        rectangles += len(picked) * max(lengths[row] for row in picked)
    padding = 1 - sum(lengths[row] for row in rows) / rectangles if rows else 0.0
    return {"loss": loss.item(), "entropy": entropy_sum.item(), "updated_tokens": updated_tokens, "padding": padding,
            "skipped_rows": len(lengths) - len(rows), "logprob_gap": gap.item()}


def scoring_batches(rows: Sequence[int], prompts, lengths: list[int], k: int, token_budget: int) -> list[list[int]]:
    """Micro-batches of `rows`: like lengths together, or a prompt's rows together, whichever leaves less to compute.

    Matrix products see a prompt once a micro-batch and no padding (t1mini.fast.packing), attention sees whole rectangles.
    """
    def work(batches: list[list[int]]) -> int:
        total = 0
        for batch in batches:
            total += sum(lengths[r] - len(prompts[r // k]) for r in batch) + sum(len(prompts[p]) for p in {r // k for r in batch})
            total += len(batch) * max(lengths[r] for r in batch)
        return total

    chosen = [lengths[r] for r in rows]
    by_length, by_prompt = (micro_batches(chosen, token_budget, groups) for groups in (None, [r // k for r in rows]))
    return min(([[rows[i] for i in picks] for picks in batches] for batches in (by_length, by_prompt)), key=work)


def score_rows(model: Qwen, prompts, rollouts: Rollouts, rows: list[int], config,
               vocab_limit: int) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of some of the rows."""
    with compute_precision(config):
        return score(model, [prompts[row // config.k] for row in rows], [rollouts.ids(row) for row in rows],
                     temperature=config.temperature, vocab_limit=vocab_limit)


def sequence_lengths(prompts: list[list[int]], rollouts: Rollouts) -> list[int]:
    """Tokens of prompt and response of every row."""
    k = len(rollouts.lengths) // len(prompts)
    return [len(prompts[row // k]) + length for row, length in enumerate(rollouts.lengths.tolist())]
