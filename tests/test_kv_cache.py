"""Reading from the cache equals computing everything again, whatever the rows' lengths and whichever rows stay."""

import pytest
import torch

from t1mini.runs.batches import pad
from t1mini.model import Qwen, QwenConfig

SHAPES = {
    "qwen2": QwenConfig(31, 24, 40, 2, 3, 1, 8, initializer_range=0.3),
    "qwen3": QwenConfig(31, 20, 36, 3, 4, 2, 6, qkv_bias=False, qk_norm=True, tie_word_embeddings=False, initializer_range=0.3),
}
PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]]


@pytest.fixture(params=SHAPES)
def model(request):
    return Qwen(SHAPES[request.param]).initialise(0).double().requires_grad_(False)


def prefill(model, capacity=20):
    cache = model.new_cache(len(PROMPTS), capacity)
    model.hidden(pad(PROMPTS, 0), cache, torch.tensor([len(p) for p in PROMPTS]))
    return cache


def last_logits(model, ids):
    return model(torch.tensor([ids]))[0, -1]


@pytest.mark.parametrize("pad_id", [0, 30])
def test_cached_logits_equal_the_full_forward_pass(model, pad_id):
    cache = model.new_cache(3, 20)
    model.hidden(pad(PROMPTS, pad_id), cache, torch.tensor([5, 2, 4]))
    sequences = [list(p) for p in PROMPTS]
    for token in (7, 8, 11):
        logits = model(torch.full((3, 1), token), cache)[:, 0]
        for sequence, row in zip(sequences, logits):
            sequence.append(token)
            torch.testing.assert_close(row, last_logits(model, sequence), atol=1e-12, rtol=0)
    assert cache.lengths.tolist() == [8, 5, 7]


def test_several_tokens_at_once_equal_one_at_a_time(model):
    cache, tokens = prefill(model), torch.tensor([[7, 8], [1, 2], [3, 3]])
    logits = model(tokens, cache)
    for i, prompt in enumerate(PROMPTS):
        torch.testing.assert_close(logits[i, -1], last_logits(model, [*prompt, *tokens[i].tolist()]), atol=1e-12, rtol=0)


def test_repeat_puts_the_copies_of_a_prompt_side_by_side(model):
    cache = prefill(model).repeat(2)
    logits = model(torch.arange(6)[:, None], cache)[:, 0]
    for row in range(6):
        torch.testing.assert_close(logits[row], last_logits(model, [*PROMPTS[row // 2], row]), atol=1e-12, rtol=0)


def test_a_full_cache_says_so(model):
    cache = prefill(model, capacity=6)
    model(torch.zeros(3, 1, dtype=torch.long), cache)
    with pytest.raises(ValueError, match="holds 6 tokens a row, 7 are needed"):
        model(torch.zeros(3, 1, dtype=torch.long), cache)
