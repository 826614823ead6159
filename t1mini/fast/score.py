"""Scoring sooner: responses without padding, each prompt once, and no more logits at a time than fit the
memory.

A rectangle [n, S] of prompts and responses computes the prompt again in every row, and the padding behind
every response. Only attention needs rows, though: the matrix products of a decoder treat each token alone. So
tokens stand in one line, and go to rows and back within each layer:

    tokens [M]     prompt A, its responses, prompt B, its responses, ...      each prompt once, nothing padded
    rows [n, S]    which of them stands where, for attention: prompt, response, then anything (it is not seen)
    home [M]       where in rows.flatten() a token's result of attention is found; a prompt's in its first row

A prompt's gradient is the sum over its rows, by itself: that is the backward of reading a token more than
once.

Of the vocabulary, a chunk of tokens is scored and forgotten, and scored again in the backward pass: Qwen's
151,936 words make 5 GB of logits of 8,192 tokens.

See it agree with t1mini.rollout.score: python -m pytest tests/fast/test_twins.py
"""

from typing import NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.fast.forward import causal_attention, hidden_states
from t1mini.model import Qwen
from t1mini.runs.batches import length_mask, pad
from t1mini.sampler import Sampling, scale, scored

LEAST = -1e4  # in place of log 0: its exponential is 0 all the same, and 0 * -inf would be NaN
CHUNK_ELEMENTS = 2**25  # logits held at once: 128 MiB of float32


def score(model: Qwen, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
          sampling: Sampling = Sampling(), recompute: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of every response token given what stands before it.

    Row i is responses[i] after prompts[i]. With `recompute` no activations are kept within a layer.
    """
    but_the_last = [response[:-1] for response in responses]  # what would follow it is not asked for
    packing = pack(prompts, but_the_last, model.device)
    kv = model.config.num_key_value_heads
    attend = lambda layer, qkv: packing.to_tokens(causal_attention(packing.to_rows(qkv), kv))
    ids, positions = packing.tokens[None], packing.positions[None]  # [1, M]
    hidden = hidden_states(model, ids, positions, attend, recompute)  # [1, M, H]
    targets = [token for response in responses for token in response]
    values = token_logprobs(F.embedding(packing.before, hidden[0]), model.head_weight,
                            torch.tensor(targets, device=model.device), sampling.temperature,
                            sampling.vocab_limit, sampling.min_p)
    lengths = torch.tensor([len(response) for response in responses], device=model.device)
    mask = length_mask(lengths, max(map(len, responses)))  # [n, T]
    logprobs, entropy = (value.new_zeros(mask.shape).masked_scatter(mask, value) for value in values)
    return logprobs, entropy, mask


class Packing(NamedTuple):
    tokens: Tensor  # [M] ids
    rows: Tensor  # [n, S]
    home: Tensor  # [M]
    before: Tensor  # [R] for each response token, the token before it, which predicts it

    @property
    def positions(self) -> Tensor:
        """[M] in their rows"""
        return self.home % self.rows.shape[1]

    def to_rows(self, x: Tensor) -> Tensor:
        """[1, M, heads, d] -> [n, S, heads, d]"""
        return F.embedding(self.rows, x[0].flatten(1)).unflatten(-1, x.shape[2:])

    def to_tokens(self, x: Tensor) -> Tensor:
        """[n, S, ..] -> [1, M, ..]"""
        return F.embedding(self.home, x.flatten(0, 1))[None]


def pack(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device="cpu") -> Packing:
    """Row i is responses[i] after prompts[i]; equal prompts are one.

    >>> pack([[7, 8], [7, 8], [9]], [[1, 2], [3], [4]]).tokens.tolist()
    [7, 8, 1, 2, 3, 9, 4]
    >>> pack([[7, 8], [7, 8], [9]], [[1, 2], [3], [4]]).rows.tolist()
    [[0, 1, 2, 3], [0, 1, 4, 0], [5, 6, 0, 0]]
    """
    width = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses))
    tokens, rows, home, before, first = [], [], [], [], {}
    for prompt, response in zip(prompts, responses):
        row = first.get(tuple(prompt), [])  # the numbers of its tokens
        new = [*prompt, *response][len(row) :]
        row = [*row, *range(len(tokens), len(tokens) + len(new))]
        place = len(rows) * width + len(row)  # where the row ends
        home.extend(range(place - len(new), place))
        before.extend(row[len(prompt) - 1 :])
        tokens.extend(new)
        rows.append(row)
        first.setdefault(tuple(prompt), row[: len(prompt)])
    flat = lambda values: torch.tensor(values, dtype=torch.long, device=device)
    return Packing(flat(tokens), pad(rows, 0, device), flat(home), flat(before))


def token_logprobs(hidden: Tensor, lm_head_weight: Tensor, targets: Tensor, temperature: float,
                   vocab_limit: int | None = None, min_p: float = 0.0) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of its distribution, in nats, without holding [M, V] logits.

    hidden [M, H], lm_head_weight [V, H], targets [M] -> ([M], [M]). The distribution is the one sampled from:
    at the temperature (1 in place of 0), over what min-p keeps.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    settings = temperature or 1.0, vocab_limit, min_p, dtype
    return _TokenLogprobs.apply(hidden, lm_head_weight, targets, *settings)


class _TokenLogprobs(torch.autograd.Function):
    """With z = logits / temperature where min-p keeps them, p = softmax(z) and H the entropy:

    d log p_target / dz = onehot(target) - p          dH / dz = -p * (log p + H)
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets, *settings):
        ctx.settings = settings
        scored = []
        for h, _, target, logp in _chunks(hidden, weight, targets, *ctx.settings):
            scored.append((logp.gather(-1, target[:, None]).squeeze(-1), -(logp.exp() * logp).sum(-1)))
        logprobs, entropy = map(torch.cat, zip(*scored))
        ctx.save_for_backward(hidden, weight, targets, entropy)
        return logprobs, entropy

    @staticmethod
    def backward(ctx, grad_logprobs, grad_entropy):
        hidden, weight, targets, entropy = ctx.saved_tensors
        temperature, vocab_limit, _, dtype = ctx.settings
        grad_hidden, start = [], 0
        grad_weight = torch.zeros_like(weight)  # one buffer, in the weights' own precision
        for h, w, target, logp in _chunks(hidden, weight, targets, *ctx.settings):
            rows = slice(start, start := start + len(h))
            g, g_entropy = grad_logprobs[rows, None], grad_entropy[rows, None]
            p = logp.exp()
            dz = logp.add_(entropy[rows, None]).mul_(g_entropy).add_(g).mul_(p).neg_()
            dz.scatter_add_(1, target[:, None], g)
            dlogits = dz.div_(temperature).to(dtype)
            grad_hidden.append((dlogits @ w).to(hidden.dtype))
            if dtype == weight.dtype:
                grad_weight[:vocab_limit].addmm_(dlogits.T, h)  # += without a second [V, H]
            else:
                grad_weight[:vocab_limit] += dlogits.T @ h
        return torch.cat(grad_hidden), grad_weight, *[None] * 5


def _chunks(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, vocab_limit: int | None,
            min_p: float, dtype: torch.dtype):
    """A chunk of rows at a time: (hidden [m, H], weight [V, H], targets [m], log-probabilities [m, V])."""
    w = weight[:vocab_limit].to(dtype)
    m = max(1, CHUNK_ELEMENTS // len(w))
    for h, target in zip(hidden.to(dtype).split(m), targets.split(m)):
        logp = scored(scale(F.linear(h, w), temperature), target, min_p).log_softmax(-1)
        yield h, w, target, logp.clamp_min_(LEAST) if min_p else logp
