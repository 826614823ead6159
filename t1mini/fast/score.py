"""Scoring sooner: responses without padding, each prompt once, and no more logits at a time than fit the
memory.

A rectangle [n, S] of prompts and responses computes the prompt again in every row, and the padding behind
every response. Only attention needs rows, though: the matrix products of a decoder treat each token alone. So
tokens stand in one line, and go to rows and back within each layer:

    tokens [M]        prompt A, prompt B, ..., the responses of A, of B, ...: each once, nothing padded
    queries [n, T]    which of them stands where as it looks back, and
    keys [n, S]       as it is looked at: prompt, response, then anything (it is not seen)
    home [M]          where in queries.flatten() a token's result of attention is found

Shared prompts are rows of their own, and of the rows of responses only the responses look: a prompt would
come to the same beside each of them. A GPU's kernel wants keys and queries to be the same rows, though. A
prompt's gradient is the sum over its rows, by itself: that is the backward of reading a token more than once.

Of the vocabulary, a chunk of tokens is scored and forgotten, and scored again in the backward pass: Qwen's
151,936 words make 5 GB of logits of 8,192 tokens.

See it agree with t1mini.rollout.score: python -m pytest tests/fast/test_twins.py
"""

from itertools import accumulate, chain
from typing import NamedTuple, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini.fast.forward import attention, hidden_states
from t1mini.model import Qwen
from t1mini.runs.batches import length_mask, pad
from t1mini.sampler import Sampling, scale, scored

LEAST = -1e4  # in place of log 0: its exponential is 0 all the same, and 0 * -inf would be NaN
CHUNK_ELEMENTS = 2**23  # logits held at once: 32 MiB of float32


def score(model: Qwen, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]],
          sampling: Sampling = Sampling(), recompute: bool = False,
          fused: bool | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, mask), each [n, T], of every response token given what stands before it.

    Row i is responses[i] after prompts[i]. With `recompute` no activations are kept within a layer. `fused`
    is attention as on a GPU (default: on a GPU).
    """
    but_the_last = [response[:-1] for response in responses]  # what would follow it is not asked for
    packing = pack(prompts, but_the_last, model.device, fused)
    attend = lambda layer, qkv: packing.attend(qkv, model.config.num_key_value_heads)
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
    positions: Tensor  # [M] in their rows
    rows: list[tuple]  # queries [n, T] and keys [n, S], numbers of tokens; `attention`'s bias [n, 1, T, S]
    home: Tensor  # [M]
    before: Tensor  # [R] for each response token, the token before it, which predicts it

    def attend(self, qkv: Tensor, kv: int) -> Tensor:
        """Each token over those before it in its row: [1, M, heads + 2 kv, d] -> [1, M, heads * d]"""
        q, k, v = qkv[0].split((qkv.shape[2] - 2 * kv, kv, kv), dim=1)  # [M, heads or kv, d]
        pick = lambda x, rows: F.embedding(rows, x.flatten(1)).unflatten(-1, x.shape[1:])
        mixed = []  # [n * T, heads * d]
        for queries, keys, bias in self.rows:
            states = pick(q, queries), pick(k, keys), pick(v, keys)
            mixed.append(attention(*states, bias if bias is None else bias.to(q.dtype)).flatten(0, 1))
        return F.embedding(self.home, torch.cat(mixed))[None]


def pack(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], device="cpu",
         fused: bool | None = None) -> Packing:
    """Row i is responses[i] after prompts[i]; equal prompts are one. `fused`: for a GPU's own attention.

    >>> packing = pack([[7, 8], [7, 8], [9]], [[1, 2], [3], [4]])
    >>> packing.tokens.tolist()
    [7, 8, 9, 1, 2, 3, 4]
    >>> queries, keys, _ = packing.rows[1]
    >>> queries.tolist(), keys.tolist()
    ([[3, 4], [5, 0], [6, 0]], [[0, 1, 3, 4], [0, 1, 5, 0], [2, 6, 0, 0]])
    """
    place = {prompt: i for i, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    texts, starts = [*place, *responses], [0] * len(place) + [len(prompt) for prompt in prompts]
    ends = accumulate(map(len, texts))
    numbers = [[*range(end - len(text), end)] for end, text in zip(ends, texts)]  # of their tokens
    own, heads = numbers[len(place) :], [numbers[place[tuple(prompt)]] for prompt in prompts]
    whole = [[*head, *row] for head, row in zip(heads, own)]
    flat = lambda values: torch.tensor([*chain.from_iterable(values)], dtype=torch.long, device=device)
    positions = flat(range(start, start + len(text)) for start, text in zip(starts, texts))
    keys = pad(whole, 0, device)
    rows = [(keys, keys, None)]
    if not (keys.is_cuda if fused is None else fused):
        prompt_rows, alone = pad(numbers[: len(place)], 0, device), len(place) == len(prompts)
        looks = [(keys, keys)] if alone else [(prompt_rows, prompt_rows), (pad(own, 0, device), keys)]
        rows = [(*pair, causal_bias(positions, *pair)) for pair in looks if pair[0].numel()]
    looking = torch.cat([queries.flatten() for queries, *_ in rows])
    home = torch.zeros_like(positions)
    home.scatter_reduce_(0, looking, torch.arange(len(looking), device=device), "amin", include_self=False)
    before = flat((head[-1], *row) for head, row in zip(heads, own))
    return Packing(flat(texts), positions, rows, home, before)


def causal_bias(positions: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """-inf where a key stands behind its query, else 0: [n, 1, T, S], in the smallest type that has both."""
    later = torch.arange(keys.shape[1], device=keys.device) > positions[queries][:, None, :, None]
    return torch.zeros(later.shape, dtype=torch.bfloat16, device=keys.device).masked_fill_(later, -torch.inf)


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
        values = []
        for h, _, target, logp in _chunks(hidden, weight, targets, *ctx.settings):
            values.append((logp.gather(-1, target[:, None]).squeeze(-1), -logp.exp().mul_(logp).sum(-1)))
        logprobs, entropy = map(torch.cat, zip(*values))
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
