"""Rollouts: K responses to each of P prompts, sampled together.

    prefill    each prompt once through the model; its K responses share its keys and values
    decode     one token a row at a time: last token -> logits -> next token and its log-probability
    compact    finished responses leave the batch, so that the last long ones do not drag the rest along

Logits come from t1mini.engine, or with `plain` from the model itself and its KV cache: slower, and easier to read.

Rows are prompt-major: rows p*K ... p*K + K-1 answer prompt p. A response ends with its end token, which is an action of the
policy: it is in `response_ids`, it counts in `lengths`, and it is trained on. What lies beyond is padding.

The noise of a token depends on (seed, step, prompt, response, t) alone. So prompts generated together or apart, compacted
or not, on one machine or several, give the same responses.

`score` is the other direction: log-probabilities of responses that exist already.

See it: python -m pytest tests/test_rollout.py
"""

from dataclasses import dataclass
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from t1mini.batching import length_mask, pad
from t1mini.clock import Clock
from t1mini.config import UserError
from t1mini.engine import Engine
from t1mini.loss import token_logprobs
from t1mini.model import Qwen
from t1mini.sampler import fold, sample

COMPACT_EVERY = 4  # tokens between looks at which rows are finished; a look costs a device synchronisation


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
        return self.response_ids[row, : self.lengths[row]].tolist()


@torch.no_grad()
def generate(model: Qwen, prompts: Sequence[Sequence[int]], k: int, *, max_new_tokens: int, eos_id: int | None = None,
             pad_id: int = 0, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0,
             vocab_limit: int | None = None, seed: int, step: int = 0, prompt_indices: Sequence[int] | None = None,
             batch_rows: int = 512, share_prompt: bool = True, compact: bool = True, plain: bool = False,
             lengths: Tensor | None = None, clock: Clock | None = None, progress: str = "") -> Rollouts:
    """Samples k responses to each prompt (lists of token ids), about `batch_rows` rows at a time.

    Without `eos_id` nothing ends before `max_new_tokens`. `prompt_indices` names the prompts for the noise (default:
    0 ... P-1). The slow twins: `share_prompt=False` prefills every row, `compact=False` carries every row to the end,
    `plain=True` leaves the engine out. `lengths` [N] ends each response there at the latest, and `clock` notes where the
    time goes (t1mini.bench). `progress` labels a progress bar. ValueError for an empty prompt, k < 1 or max_new_tokens < 1.
    """
    if not prompts or not all(prompts) or k < 1 or max_new_tokens < 1:
        raise ValueError("generate needs prompts of at least one token, k >= 1 and max_new_tokens >= 1")
    longest, positions = max(map(len, prompts)) + max_new_tokens, model.config.max_position_embeddings
    if longest > positions:
        raise UserError(f"prompts and --max-new-tokens {max_new_tokens} come to {longest} tokens; the model was made for {positions}")
    filters = dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, vocab_limit=vocab_limit)
    indices = list(range(len(prompts))) if prompt_indices is None else list(prompt_indices)
    parts, at_once = [], max(1, batch_rows // k)
    decoder, clock = Plain(model, max_new_tokens) if plain else Engine(model), clock or Clock()
    most = torch.full((len(prompts) * k,), max_new_tokens) if lengths is None else lengths
    for start in tqdm(range(0, len(prompts), at_once), desc=progress, unit="batch", leave=False, disable=not progress):
        chunk = prompts[start : start + at_once]
        keys = fold(fold(seed, step), torch.tensor(indices[start : start + at_once])[:, None], torch.arange(k)).flatten()
        chunk, rows_each = (chunk, k) if share_prompt else ([prompt for prompt in chunk for _ in range(k)], 1)
        most_here = most[start * k : (start + at_once) * k].to(model.device)
        parts.append(_generate(decoder, chunk, rows_each, keys.to(model.device), most_here, eos_id, pad_id, filters, compact, clock))
    width = max(part.response_ids.shape[1] for part in parts)
    widen = lambda x, fill: F.pad(x, (0, width - x.shape[1]), value=fill)
    return Rollouts(
        response_ids=torch.cat([widen(part.response_ids, pad_id) for part in parts]),
        lengths=torch.cat([part.lengths for part in parts]),
        finished=torch.cat([part.finished for part in parts]),
        logprobs=torch.cat([widen(part.logprobs, 0.0) for part in parts]),
        kept_mass=torch.cat([part.kept_mass for part in parts]))


def _generate(decoder, prompts, k, keys, most, eos_id, pad_id, filters, compact, clock) -> Rollouts:
    device, n, max_new_tokens = keys.device, len(prompts) * k, int(most.max())
    logits = decoder.begin(prompts, k)  # [n, V]
    if not logits.isfinite().all():
        raise UserError("the model's logits are not finite: its weights are damaged")
    clock.lap("prefill")
    ids = torch.full((n, max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros(n, max_new_tokens, dtype=torch.promote_types(logits.dtype, torch.float32), device=device)
    kept = torch.zeros_like(logprobs)
    lengths = torch.zeros(n, dtype=torch.long, device=device)
    finished = torch.zeros(n, dtype=torch.bool, device=device)

    rows = torch.arange(n, device=device)  # which response each row of the batch is
    for t in range(max_new_tokens):
        token, logprob, mass = sample(logits, row_keys=fold(keys[rows], t), return_kept_mass=True, **filters)
        live = ~finished[rows] & (t < most[rows])
        ids[rows, t] = torch.where(live, token, pad_id)
        logprobs[rows, t] = torch.where(live, logprob, 0.0)
        kept[rows, t] = torch.where(live, mass, 0.0)
        lengths[rows] += live
        if eos_id is not None:
            finished[rows] |= token == eos_id
        clock.lap("sampling")
        if t + 1 == max_new_tokens:
            break
        if (t + 1) % COMPACT_EVERY == 0:
            live = (~finished[rows] & (t + 1 < most[rows])).nonzero().squeeze(-1)
            if len(live) == 0:
                break
            if compact and len(live) < len(rows):
                rows, token = rows[live], token[live]
                decoder.select(live)
            clock.lap("compaction")
        logits = decoder.step(token)
        clock.lap("decode")
    width = int(lengths.max())
    return Rollouts(ids[:, :width], lengths, finished, logprobs[:, :width], kept.sum(-1) / lengths)


class Plain:
    """Decodes with the model and its KV cache as they are: the slow twin of t1mini.engine.Engine."""

    def __init__(self, model: Qwen, max_new_tokens: int):
        self.model, self.max_new_tokens = model, max_new_tokens

    def begin(self, prompts: Sequence[Sequence[int]], k: int) -> Tensor:
        """Prefills the prompts, then repeats their cache for k rows each. Returns the rows' first logits [P * k, V]."""
        ids = pad(prompts, 0, self.model.device)  # [P, S]
        lengths = torch.tensor([len(p) for p in prompts], device=ids.device)
        cache = self.model.new_cache(len(prompts), ids.shape[1] + self.max_new_tokens)
        hidden = self.model.hidden(ids, cache, lengths)  # [P, S, H]
        last = hidden[torch.arange(len(prompts), device=ids.device), lengths - 1]  # [P, H]
        self.cache = cache.repeat(k)
        return F.linear(last, self.model.head_weight).repeat_interleave(k, dim=0)

    def step(self, token: Tensor) -> Tensor:
        """The logits [n, V] after one more token [n] a row."""
        return self.model(token[:, None], self.cache).squeeze(1)

    def select(self, live: Tensor) -> None:
        """Keeps only the rows `live` [m]."""
        self.cache = self.cache.select(live)


def score(model: Qwen, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], *, temperature: float,
          vocab_limit: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of every response token given what stands before it.

    Row i is responses[i] after prompts[i]. A temperature of 0 is scored at 1, as in the sampler.
    """
    ids = pad([[*prompt, *response] for prompt, response in zip(prompts, responses)], 0, model.device)  # [n, S]
    starts = torch.tensor([len(p) for p in prompts], device=model.device)
    lengths = torch.tensor([len(r) for r in responses], device=model.device)
    mask = length_mask(lengths, int(lengths.max()))  # [n, T]
    # hidden state at S - 1 predicts token S: response token t is predicted at start + t - 1
    columns = torch.arange(mask.shape[1], device=model.device) + starts[:, None]  # [n, T]
    rows = torch.arange(len(prompts), device=model.device)[:, None].expand_as(columns)
    rows, columns = rows[mask], columns[mask]  # [M] response tokens of all rows
    hidden = model.hidden(ids[:, :-1])  # [n, S - 1, H]
    # F.embedding, not hidden[rows, columns - 1]: the backward of fancy indexing adds in no fixed order
    flat = F.embedding(rows * hidden.shape[1] + columns - 1, hidden.flatten(0, 1))  # [M, H]
    logprobs, entropy = token_logprobs(flat, model.head_weight, ids[rows, columns], temperature, vocab_limit)
    spread = lambda values: torch.zeros(mask.shape, dtype=values.dtype, device=mask.device).masked_scatter(mask, values)
    return spread(logprobs), spread(entropy), mask
