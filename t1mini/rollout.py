"""Rollouts: K responses to each of P prompts, sampled together, and the scoring of responses that exist.

    prefill    each prompt once through the model; its K responses start from copies of its keys and values
    decode     one token a row at a time: last token -> logits -> next token and its log-probability
    score      prompt and response through the model at once: log-probability and entropy of response tokens

Rows are prompt-major: rows p*K ... p*K + K-1 answer prompt p. A response ends with its end token, which is an
action of the policy: it is in `response_ids`, it counts in `lengths`, and it is trained on. What lies beyond
is padding. A model may have several end tokens: of a chat turn, of a document.

The noise of a token depends on (seed, step, prompt, response, t) alone. So prompts generated together or
apart, in whatever company, on one machine or several, give the same responses.

This is the plain way, which `--plain` runs. t1mini.fast has the same two functions, for the same tokens
sooner.

See it: python -m pytest tests/test_rollout.py
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Collection, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from t1mini.kv_cache import KVCache
from t1mini.loss import logprobs_from_logits, token_entropy
from t1mini.model import Qwen
from t1mini.runs.batches import length_mask, micro_batches, pad
from t1mini.runs.settings import UserError
from t1mini.sampler import Sampling, fold, sample, scale, scored


@dataclass
class Rollouts:
    """N = P * K responses, prompt-major, padded on the right to the longest."""

    response_ids: Tensor  # [N, T]
    lengths: Tensor  # [N], the end token counted
    finished: Tensor  # [N] bool: ended by its own end token
    logprobs: Tensor  # [N, T] nats, of the distribution each was drawn from, 0 in the padding
    kept_mass: Tensor  # [N] mean share of probability that top-k, top-p and min-p left to sample from

    @property
    def mask(self) -> Tensor:
        """True on response tokens: [N, T]."""
        return length_mask(self.lengths, self.response_ids.shape[1])

    def ids(self, row: int) -> list[int]:
        """A response without its padding."""
        return self.unpadded[row]

    @cached_property
    def unpadded(self) -> list[list[int]]:
        """All responses, brought from the device at once: one by one, each would wait for the GPU."""
        return [ids[:length] for ids, length in zip(self.response_ids.tolist(), self.lengths.tolist())]


@torch.no_grad()
def generate(model: Qwen, prompts: Sequence[Sequence[int]], k: int, sampling: Sampling = Sampling(), *,
             max_new_tokens: int, eos_id: int | Collection[int] | None = None, seed: int, step: int = 0,
             prompt_indices: Sequence[int] | None = None, max_batch_tokens: int = 2**17,
             lengths: Tensor | None = None, progress: str = "") -> Rollouts:
    """Samples k responses to each prompt (lists of token ids), with at most `max_batch_tokens` in the cache.

    A response ends with `eos_id`, or any of several; without, nothing ends before `max_new_tokens`.
    `prompt_indices` names the prompts for the noise (default: 0 ... P-1). `lengths` [N] ends each response
    there at the latest. `progress` labels a progress bar. ValueError for an empty prompt, k < 1 or
    max_new_tokens < 1; UserError where prompt and response exceed the model's positions.
    """
    keys = noise_keys(model, prompts, k, max_new_tokens, seed, step, prompt_indices)  # [N]
    ends = torch.tensor(ends_of(eos_id), dtype=torch.long, device=keys.device)
    limits = torch.full_like(keys, max_new_tokens) if lengths is None else lengths.to(keys.device)  # [N]
    at_once = max(1, max_batch_tokens // (k * (max(map(len, prompts)) + max_new_tokens)))  # prompts
    parts = []
    for start in tqdm(range(0, len(prompts), at_once), desc=progress, leave=False,
                      disable=not progress or None):
        some, rows = prompts[start : start + at_once], slice(start * k, (start + at_once) * k)
        parts.append(decode(model, some, keys[rows], limits[rows], sampling, ends, max_new_tokens))
    ids, logprobs, lengths, finished, mass = map(torch.cat, zip(*parts))
    width = int(lengths.max())
    return Rollouts(ids[:, :width], lengths, finished, logprobs[:, :width], mass[:, :width].sum(1) / lengths)


def ends_of(eos_id: int | Collection[int] | None) -> list[int]:
    """The tokens that end a response, as a list."""
    return [] if eos_id is None else [eos_id] if isinstance(eos_id, int) else [*eos_id]


def noise_keys(model: Qwen, prompts: Sequence[Sequence[int]], k: int, max_new_tokens: int, seed: int,
               step: int, prompt_indices: Sequence[int] | None) -> Tensor:
    """What names each response's noise [N], once the request is found to be a possible one."""
    if not prompts or not all(prompts) or k < 1 or max_new_tokens < 1:
        raise ValueError("generate needs prompts of at least one token, k >= 1 and max_new_tokens >= 1")
    longest, positions = max(map(len, prompts)) + max_new_tokens, model.config.max_position_embeddings
    if longest > positions:
        raise UserError(f"prompts and --max-new-tokens {max_new_tokens} come to {longest} tokens; "
                        f"the model was made for {positions}")
    indices = torch.tensor(range(len(prompts)) if prompt_indices is None else list(prompt_indices))
    return fold(fold(seed, step), indices[:, None], torch.arange(k)).flatten().to(model.device)


def decode(model: Qwen, prompts: Sequence[Sequence[int]], keys: Tensor, limits: Tensor, sampling: Sampling,
           ends: Tensor, width: int) -> tuple[Tensor, ...]:
    """Responses to some prompts, every row to the end of the longest: ids and log-probabilities [n, width],
    lengths and whether finished [n], kept mass [n, width].
    """
    cache, logits = prefill(model, prompts, len(keys) // len(prompts), width)
    lengths = torch.zeros_like(keys)
    finished = torch.zeros_like(keys, dtype=torch.bool)
    live = ~finished
    steps = []
    while live.any():
        row_keys = fold(keys, len(steps))
        token, logprob, mass = sample(logits, row_keys=row_keys, return_kept_mass=True, **vars(sampling))
        steps.append((token * live, logprob * live, mass * live))  # 0 in rows that have ended
        lengths += live
        finished |= live & torch.isin(token, ends)
        live = ~finished & (lengths < limits)
        if live.any():
            logits = model(token[:, None], cache).squeeze(1)  # [n, V]
    columns = [F.pad(torch.stack(values, dim=1), (0, width - len(steps))) for values in zip(*steps)]
    return *columns[:2], lengths, finished, columns[2]


def prefill(model: Qwen, prompts: Sequence[Sequence[int]], k: int, new_tokens: int) -> tuple[KVCache, Tensor]:
    """Each prompt once through the model; then its cache k times, and the logits after it: [P * k, V]."""
    ids = pad(prompts, 0, model.device)  # [P, S]
    lengths = torch.tensor([len(p) for p in prompts], device=ids.device)
    cache = model.new_cache(len(prompts), ids.shape[1] + new_tokens)
    hidden = model.hidden(ids, cache, lengths)  # [P, S, H]
    last = hidden[torch.arange(len(prompts), device=ids.device), lengths - 1]  # [P, H]
    logits = F.linear(last, model.head_weight)
    require_finite(logits)
    return cache.repeat(k), logits.repeat_interleave(k, dim=0)


def require_finite(logits: Tensor):
    if not logits.isfinite().all():
        raise UserError("the model's logits are not finite: its weights are damaged")


def score(model: Qwen, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
          sampling: Sampling = Sampling()) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of every response token given what stands before it.

    Row i is responses[i] after prompts[i]. Scored is what was sampled: the distribution at `temperature` (1
    in place of 0) over what `min_p` keeps. top_k and top_p are for sampling without training.
    """
    whole = [[*prompt, *response] for prompt, response in zip(prompts, responses)]
    ids = pad(whole, 0, model.device)  # [n, S]
    z = scale(model(ids), sampling.temperature, sampling.vocab_limit)  # [n, S, V]
    z = scored(z, ids.roll(-1, dims=1), sampling.min_p)  # at each place, of the token that comes next
    logprobs = logprobs_from_logits(z, ids, temperature=1.0)  # [n, S], of the token at each place
    entropy = token_entropy(z)  # [n, S], of the one that comes next
    starts = torch.tensor([len(prompt) for prompt in prompts], device=ids.device)
    lengths = torch.tensor([len(response) for response in responses], device=ids.device)
    mask = length_mask(lengths, int(lengths.max()))  # [n, T]
    columns = starts[:, None] + torch.arange(mask.shape[1], device=ids.device)  # [n, T], in ids
    columns = columns.clamp(max=ids.shape[1] - 1)  # beyond a response, where the mask is False
    pick = lambda values, at: values.gather(1, at).masked_fill(~mask, 0.0)
    return pick(logprobs, columns), pick(entropy, columns - 1), mask


@torch.no_grad()
def score_rollouts(score: Callable, model: Qwen, prompts: Sequence[Sequence[int]], rollouts: Rollouts,
                   sampling: Sampling, token_budget: int) -> Tensor:
    """Log-probabilities of the sampled tokens under `model`, by this `score` or its twin: [N, T]."""
    logprobs = torch.zeros_like(rollouts.logprobs)
    for rows, *texts in rows_to_score(range(len(rollouts.lengths)), prompts, rollouts, token_budget):
        part, _, mask = score(model, *texts, sampling)
        logprobs[rows, : mask.shape[1]] = part.to(logprobs.dtype)
    return logprobs


def rows_to_score(rows: Sequence[int], prompts: Sequence[Sequence[int]], rollouts: Rollouts,
                  token_budget: int) -> Iterator[tuple[list[int], list, list]]:
    """Some rows, a micro-batch of at most `token_budget` tokens at a time: numbers, prompts, responses."""
    k = len(rollouts.lengths) // len(prompts)
    lengths = [len(prompts[row // k]) + len(rollouts.ids(row)) for row in rows]
    for batch in micro_batches(lengths, token_budget):
        picked = [rows[i] for i in batch]
        yield picked, [prompts[row // k] for row in picked], [rollouts.ids(row) for row in picked]
