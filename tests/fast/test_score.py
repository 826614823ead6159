"""Packed tokens stand once and are read by every row; the vocabulary is scored a chunk of tokens at a time."""

import pytest
import torch
import torch.nn.functional as F

from t1mini.fast import score as scoring
from t1mini.fast.score import pack, token_logprobs
from t1mini.model import attend
from t1mini.sampler import scored
from t1mini.loss import logprobs_from_logits, token_entropy

PROMPTS = [[3, 1, 4], [3, 1, 4], [9, 2, 6, 5], [3, 1, 4], [8]]
RESPONSES = [[5, 3, 5, 8, 9], [7], [9, 3], [2, 3, 8, 4], [6, 2, 6, 4, 3, 3, 8]]
TEMPERATURE = 1.3


def randn(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("fused", [False, True])
def test_every_token_stands_once_and_every_row_looks_at_its_own(fused):
    packing = pack(PROMPTS, RESPONSES, fused=fused)
    assert len(packing.tokens) == 3 + 4 + 1 + sum(map(len, RESPONSES))
    queries, keys, _ = packing.rows[-1]
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        whole = [*prompt, *response]
        assert packing.tokens[keys[row, : len(whole)]].tolist() == whole
        assert packing.positions[keys[row, : len(whole)]].tolist() == list(range(len(whole)))
        looking = response if not fused else whole
        assert packing.tokens[queries[row, : len(looking)]].tolist() == looking
    places = torch.cat([queries.flatten() for queries, *_ in packing.rows])
    assert places[packing.home].tolist() == list(range(len(packing.tokens)))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=str)
def test_attention_is_the_models_own_wherever_prompts_stand(fused, dtype, atol):
    packing, kv, d = pack(PROMPTS, RESPONSES, fused=fused), 2, 8
    qkv, weights = randn(1, len(packing.tokens), 3 * kv + 2 * kv, d, dtype=dtype), randn(3 * kv * d, seed=1, dtype=dtype)
    found, expected = qkv.clone().requires_grad_(), qkv.double().requires_grad_()
    mixed = packing.attend(found, kv)
    (mixed * weights).sum().backward()
    parts = []
    for prompt, response in zip(PROMPTS, RESPONSES):
        keys = packing.rows[-1][1][len(parts)][: len(prompt) + len(response)]
        q, k, v = expected[0][keys].transpose(0, 1)[None].split((3 * kv, kv, kv), dim=1)
        parts.append(attend(q, k, v, torch.ones(len(keys), len(keys), dtype=torch.bool).tril()[None, None]))
    numbers = torch.cat([packing.rows[-1][1][i][: part.shape[2]] for i, part in enumerate(parts)])
    rows = torch.cat([part[0].transpose(0, 1).flatten(1) for part in parts])
    first = [numbers.tolist().index(i) for i in range(len(packing.tokens))]
    (rows[first] * weights.double()).sum().backward()
    torch.testing.assert_close(mixed[0].double(), rows[first], atol=atol, rtol=0)
    torch.testing.assert_close(found.grad.double(), expected.grad, atol=3 * atol, rtol=0)


def both_twins(dtype, vocab_limit, min_p, m=13, h=6, v=11):
    """(logprobs, entropy, gradients) of `token_logprobs` and of its twin, which holds every logit at once."""
    targets = torch.randint(vocab_limit or v, (m,), generator=torch.Generator().manual_seed(3))
    answers = []
    for fast in (True, False):
        hidden, weight = randn(m, h, dtype=dtype).requires_grad_(), randn(v, h, seed=1, dtype=dtype).requires_grad_()
        if fast:
            logprobs, entropy = token_logprobs(hidden, weight, targets, TEMPERATURE, vocab_limit, min_p)
        else:
            logits = scored((hidden @ weight[:vocab_limit].T) / TEMPERATURE, targets, min_p)
            ids = F.pad(targets, (1, 0))[None]  # row t of logits scores target t, which stands at t + 1
            logprobs = logprobs_from_logits(F.pad(logits, (0, 0, 0, 1))[None], ids, 1.0)[0, 1:]
            entropy = token_entropy(logits)
        weighed = (logprobs * randn(m, seed=4, dtype=dtype)).sum() + 0.7 * (entropy * randn(m, seed=5, dtype=dtype)).sum()
        weighed.backward()
        answers.append((logprobs.detach(), entropy.detach(), hidden.grad, weight.grad))
    return zip(*answers)


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("vocab_limit", [None, 8])
@pytest.mark.parametrize("chunk_elements", [1, 40, 2**24])  # 1 row, some rows and every row at a time
@pytest.mark.parametrize("min_p", [0.0, 0.3])
def test_chunked_scores_equal_their_slow_twin_in_values_and_gradients(dtype, atol, vocab_limit, chunk_elements, min_p, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", chunk_elements)
    for found, expected in both_twins(dtype, vocab_limit, min_p):
        torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_gradients_are_those_of_finite_differences():
    hidden, weight, targets = randn(5, 6).requires_grad_(), randn(11, 6, seed=1).requires_grad_(), torch.arange(5)
    for min_p in (0.0, 0.3):  # targets 0 to 4 are kept, likely or not
        assert torch.autograd.gradcheck(lambda *x: token_logprobs(*x, targets, TEMPERATURE, None, min_p), (hidden, weight))


def test_chunked_scores_never_hold_more_logits_than_a_chunk(monkeypatch):
    made, linear = [], F.linear
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", 40)
    monkeypatch.setattr(scoring.F, "linear", lambda *args: made.append(linear(*args)) or made[-1])
    token_logprobs(randn(13, 6), randn(11, 6), torch.arange(13) % 11, TEMPERATURE)
    assert sum(x.numel() for x in made) == 13 * 11 and max(x.numel() for x in made) <= 40
