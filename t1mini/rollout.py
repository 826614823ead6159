"""Rollouts: K responses to each of P prompts, sampled together.

    prefill    each prompt once through the model; its K responses share its keys and values
    decode     one token a row at a time: last token -> logits -> next token and its log-probability

`Plain` does just that, with the model and its KV cache as they are. By default t1mini.fast.schedule does it, with t1mini.fast.decode's logits:
ended responses make room for waiting ones and nothing is copied K times. Same responses, sooner.

Rows are prompt-major: rows p*K ... p*K + K-1 answer prompt p. A response ends with its end token, which is an action of the
policy: it is in `response_ids`, it counts in `lengths`, and it is trained on. What lies beyond is padding.

The noise of a token depends on (seed, step, prompt, response, t) alone. So prompts generated together or apart, in whatever
company, on one machine or several, give the same responses.

`score` is the other direction: log-probabilities of responses that exist already.

See it: python -m pytest tests/test_rollout.py
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.runs.batches import length_mask, pad
from t1mini.runs.clock import Clock
from t1mini.runs.settings import UserError
from t1mini.kv_cache import KVCache
from t1mini.loss import token_logprobs
from t1mini.model import Qwen
from t1mini.fast.packing import pack
from t1mini.sampler import fold, sample
from t1mini.fast.schedule import Scheduler


@dataclass
class Rollouts:
    """N = P * K responses, prompt-major, padded on the right to the longest."""

    response_ids: Tensor  # [N, T]
    lengths: Tensor  # [N], the end token counted
    finished: Tensor  # [N] bool: ended by its own end token
    logprobs: Tensor  # [N, T] nats, of the scored distribution, 0 in the padding
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
        """All responses, brought from the device at once: to look at them one by one is to wait for a GPU as often."""
        return [ids[:length] for ids, length in zip(self.response_ids.tolist(), self.lengths.tolist())]


@torch.no_grad()
def generate(model: Qwen, prompts: Sequence[Sequence[int]], k: int, *, max_new_tokens: int, eos_id: int | None = None,
             pad_id: int = 0, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
             vocab_limit: int | None = None, seed: int, step: int = 0, prompt_indices: Sequence[int] | None = None,
             max_batch_tokens: int = 2**17, plain: bool = False, lengths: Tensor | None = None, clock: Clock | None = None,
             progress: str = "") -> Rollouts:
    """Samples k responses to each prompt (lists of token ids), with at most `max_batch_tokens` tokens in the cache at once.

    Without `eos_id` nothing ends before `max_new_tokens`. `prompt_indices` names the prompts for the noise (default:
    0 ... P-1). `plain=True` is the slow twin. `lengths` [N] ends each response there at the latest, and `clock` notes where the
    time goes (t1mini.lab.bench). `progress` labels a progress bar. ValueError for an empty prompt, k < 1 or max_new_tokens < 1.
    """
    if not prompts or not all(prompts) or k < 1 or max_new_tokens < 1:
        raise ValueError("generate needs prompts of at least one token, k >= 1 and max_new_tokens >= 1")
    longest, positions = max(map(len, prompts)) + max_new_tokens, model.config.max_position_embeddings
    if longest > positions:
        raise UserError(f"prompts and --max-new-tokens {max_new_tokens} come to {longest} tokens; the model was made for {positions}")
    indices = torch.tensor(range(len(prompts)) if prompt_indices is None else list(prompt_indices))
    keys = fold(fold(seed, step), indices[:, None], torch.arange(k)).flatten().to(model.device)  # [N]
    most = torch.full((len(keys),), max_new_tokens) if lengths is None else lengths
    sampler = Plain if plain else Scheduler
    done = sampler(model, prompts, k, keys, most.to(model.device), eos_id=eos_id, pad_id=pad_id, max_batch_tokens=max_batch_tokens,
                   filters=dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, vocab_limit=vocab_limit),
                   clock=clock or Clock(), progress=progress)
    done.run()
    n, width = len(keys), int(done.lengths.max())
    lengths = done.lengths[:n]
    return Rollouts(done.ids[:n, :width], lengths, done.finished[:n], done.logprobs[:n, :width], done.kept[:n] / lengths)


class Plain:
    """The slow twin of t1mini.fast.schedule and t1mini.fast.decode: prompts in turn, every row to the end of the longest, with the model
    and its KV cache as they are."""

    def __init__(self, model: Qwen, prompts, k: int, keys: Tensor, most: Tensor, *, eos_id: int | None, pad_id: int, filters: dict,
                 max_batch_tokens: int, clock: Clock, progress: str = ""):
        self.model, self.prompts, self.k, self.keys, self.most, self.clock = model, prompts, k, keys, most, clock
        self.eos_id, self.filters, self.max_batch_tokens = eos_id, filters, max_batch_tokens
        shape, wide = (len(keys), int(most.max())), torch.promote_types(model.dtype, torch.float32)
        self.ids = torch.full(shape, pad_id, device=model.device)
        self.logprobs = torch.zeros(shape, dtype=wide, device=model.device)
        self.kept = torch.zeros(len(keys), dtype=wide, device=model.device)
        self.lengths = torch.zeros_like(keys)
        self.finished = torch.zeros_like(keys, dtype=torch.bool)

    def run(self) -> None:
        each = self.k * (max(map(len, self.prompts)) + self.ids.shape[1])  # tokens of a prompt's rows
        at_once = max(1, self.max_batch_tokens // each)
        for start in range(0, len(self.prompts), at_once):
            self.decode(self.prompts[start : start + at_once], slice(start * self.k, (start + at_once) * self.k))

    def decode(self, prompts: Sequence[Sequence[int]], rows: slice) -> None:
        """All responses [n] to some prompts."""
        cache, logits = self.prefill(prompts)
        live = torch.ones_like(self.finished[rows])
        for t in range(int(self.most[rows].max())):
            token, logprob, mass = sample(logits, row_keys=fold(self.keys[rows], t), return_kept_mass=True, **self.filters)
            self.ids[rows, t] = torch.where(live, token, self.ids[rows, t])
            self.logprobs[rows, t] = torch.where(live, logprob, 0.0)
            self.kept[rows] += torch.where(live, mass, 0.0)
            self.lengths[rows] += live
            self.finished[rows] |= live & (token == self.eos_id if self.eos_id is not None else False)
            live = ~self.finished[rows] & (t + 1 < self.most[rows])
            self.clock.lap("sampling")
            if not live.any():
                break
            logits = self.model(token[:, None], cache).squeeze(1)  # [n, V]
            self.clock.lap("decode")

    def prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[KVCache, Tensor]:
        """Prefills the prompts and repeats their cache for k rows each. With it, the rows' first logits [n, V]."""
        ids = pad(prompts, 0, self.model.device)  # [P, S]
        lengths = torch.tensor([len(p) for p in prompts], device=ids.device)
        cache = self.model.new_cache(len(prompts), ids.shape[1] + self.ids.shape[1])
        hidden = self.model.hidden(ids, cache, lengths)  # [P, S, H]
        last = hidden[torch.arange(len(prompts), device=ids.device), lengths - 1]  # [P, H]
        logits = F.linear(last, self.model.head_weight)
        if not logits.isfinite().all():
            raise UserError("the model's logits are not finite: its weights are damaged")
        self.clock.lap("prefill")
        return cache.repeat(self.k), logits.repeat_interleave(self.k, dim=0)


def score(model: Qwen, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], *, temperature: float,
          vocab_limit: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of every response token given what stands before it.

    Row i is responses[i] after prompts[i]. A temperature of 0 is scored at 1, as in the sampler.
    """
    packing = pack(prompts, [response[:-1] for response in responses], model.device)  # nothing follows the last token
    if packing.pays:
        hidden = model.hidden(packing.tokens[None], packing=packing)[0]  # [M, H]
    else:
        hidden = packing.to_tokens(model.hidden(packing.tokens[packing.rows]))[0]
    mask = length_mask(torch.tensor([len(r) for r in responses], device=model.device), max(map(len, responses)))  # [n, T]
    logprobs, entropy = token_logprobs(F.embedding(packing.before(mask), hidden), model.head_weight, pad(responses, 0, model.device)[mask],
                                       temperature, vocab_limit)
    spread = lambda values: torch.zeros(mask.shape, dtype=values.dtype, device=mask.device).masked_scatter(mask, values)
    return spread(logprobs), spread(entropy), mask
