"""The engine computes what the plain path computes: same logits, same tokens, whichever rows are there and whatever their prompts."""

import pytest
import torch

from t1mini.engine import BUCKET, Engine
from t1mini.rollout import Plain, generate

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7], [9]]


def run(decoder, prompts, k, steps, drop_at=(), seed=0):
    """Logits of every step for given random tokens; at the steps of `drop_at` every third row leaves."""
    generator = torch.Generator().manual_seed(seed)
    logits = [decoder.begin(prompts, k)]
    for step in range(steps):
        if step in drop_at:
            live = torch.tensor([i for i in range(len(logits[-1])) if i % 3])
            decoder.select(live)
        rows = len(logits[-1]) if step not in drop_at else len(live)
        logits.append(decoder.step(torch.randint(20, (rows,), generator=generator)))
    return logits


@torch.no_grad()
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1], [PROMPTS[0]] * 3], ids=["ragged", "one", "equal"])
@pytest.mark.parametrize("drop_at", [(), (3, 9, BUCKET + 2)], ids=["all stay", "some leave"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=str)
def test_logits_are_those_of_the_plain_path(tiny_model, prompts, drop_at, dtype, tolerance):
    model, steps = tiny_model.to(dtype), BUCKET + 5
    fast = run(Engine(model), prompts, 12, steps, drop_at)
    slow = run(Plain(model, steps + 1), prompts, 12, steps, drop_at)
    for found, expected in zip(fast, slow, strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("settings", [{}, {"share_prompt": False}, {"compact": False}, {"batch_rows": 4}, {"batch_rows": 9}], ids=str)
def test_responses_are_those_of_the_plain_path(tiny_model, settings):
    model = tiny_model.double()
    common = dict(max_new_tokens=BUCKET + 9, eos_id=7, temperature=1.3, min_p=0.02, vocab_limit=30, seed=11)
    fast, slow = generate(model, PROMPTS, 5, **common, **settings), generate(model, PROMPTS, 5, **common, plain=True, compact=False)
    assert torch.equal(fast.response_ids, slow.response_ids) and torch.equal(fast.lengths, slow.lengths)
    assert fast.finished.any() and not fast.finished.all()
    torch.testing.assert_close(fast.logprobs, slow.logprobs, atol=1e-12, rtol=0)


@torch.no_grad()
def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_path(tiny_model):
    exact = run(Plain(tiny_model, 40), PROMPTS, 3, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast, slow = run(Engine(tiny_model), PROMPTS, 3, 20), run(Plain(tiny_model, 40), PROMPTS, 3, 20)
    error = lambda logits: max((a.float() - b).abs().max().item() for a, b in zip(logits, exact))
    assert error(fast) < max(2 * error(slow), 0.05 * max(b.abs().max().item() for b in exact))


@torch.no_grad()
def test_a_prompt_is_kept_once_and_leaves_with_its_last_row(tiny_model):
    engine = Engine(tiny_model)
    engine.begin(PROMPTS, 8)
    assert engine.prompt_keys[0].shape[0] == 4
    engine.select(torch.tensor([1, 2, 16, 31]))
    assert engine.prompt_keys[0].shape[0] == 3 and engine.rows == [0, 0, 1, 2] and engine.keys[0].shape[0] == 4
