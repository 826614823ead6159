"""The engine computes what the model with its KV cache computes: same logits, whichever rows are there and whenever they began."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from t1mini.fast.decode import BUCKET, Engine
from t1mini.runs.batches import pad

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7], [9]]
K, WIDTH = 6, BUCKET["cpu"]


def begin(engine, rows, slots, standing):
    engine.arrange(standing)
    engine.begin(torch.tensor(rows), torch.tensor(slots))


def engine_logits(model, prompts, steps, leave_at=()):
    """Logits of every step for given random tokens; at the steps of `leave_at` every third row leaves."""
    rows, longest = len(prompts) * K, max(map(len, prompts))
    engine, standing = Engine(model, rows, len(prompts), K, longest, longest + steps), [row // K for row in range(rows)]
    logits = [engine.prefill(range(len(prompts)), prompts).repeat_interleave(K, 0)]
    begin(engine, list(range(rows)), standing, standing)
    generator, live = torch.Generator().manual_seed(0), torch.arange(rows)
    with torch.autocast("cpu", enabled=False):
        for step in range(steps):
            if step in leave_at:
                stays = (torch.arange(len(live)) % 3 > 0).nonzero().squeeze(-1)
                live, standing = live[stays], [standing[i] for i in stays]
                kept = sorted(set(standing))
                engine.select(stays, torch.tensor(kept), max(Counter(standing).values()), step)
                standing = [kept.index(slot) for slot in standing]
                engine.arrange(standing)
            engine.reserve(step + 1)
            logits.append(engine.step(torch.randint(20, (rows,), generator=generator)[live]))
    return logits


def plain_logits(model, prompts, steps, leave_at=()):
    ids, lengths = pad(prompts, 0), torch.tensor([len(p) for p in prompts])
    cache = model.new_cache(len(prompts), ids.shape[1] + steps)
    hidden = model.hidden(ids, cache, lengths)
    logits = [F.linear(hidden[torch.arange(len(prompts)), lengths - 1], model.head_weight).repeat_interleave(K, 0)]
    cache, live = cache.repeat(K), torch.arange(len(prompts) * K)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        if step in leave_at:
            live = live[torch.arange(len(live)) % 3 > 0]
        tokens = torch.randint(20, (len(prompts) * K,), generator=generator)
        logits.append(model(tokens[:, None], cache).squeeze(1)[live])
    return logits


@torch.no_grad()
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1], [PROMPTS[0]] * 3], ids=["ragged", "one", "equal"])
@pytest.mark.parametrize("leave_at", [(), (3, 9, WIDTH + 2)], ids=["all stay", "some leave"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=str)
def test_logits_are_those_of_the_model(tiny_model, prompts, leave_at, dtype, tolerance):
    model, steps = tiny_model.to(dtype), 2 * WIDTH + 5
    for found, expected in zip(engine_logits(model, prompts, steps, leave_at), plain_logits(model, prompts, steps, leave_at), strict=True):
        assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@torch.no_grad()
def test_in_bfloat16_it_is_as_near_to_float32_as_the_model(tiny_model):
    exact = plain_logits(tiny_model, PROMPTS, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast, slow = engine_logits(tiny_model, PROMPTS, 20), plain_logits(tiny_model, PROMPTS, 20)
    error = lambda logits: max((a.float() - b).abs().max().item() for a, b in zip(logits, exact))
    assert error(fast) < max(2 * error(slow), 0.05 * max(b.abs().max().item() for b in exact))


@torch.no_grad()
def test_a_prompt_is_kept_once_and_leaves_with_its_last_row(tiny_model):
    engine = Engine(tiny_model, 32, 4, 8, 7, 20)
    engine.prefill(range(4), PROMPTS)
    assert engine.prompts[0].shape[1] == 4
    engine.select(torch.tensor([1, 2, 16, 31]), torch.tensor([0, 2, 3]), 2, 0)
    engine.arrange([0, 0, 1, 2])
    assert engine.prompts[0].shape[1] == 3
    kv = tiny_model.config.num_key_value_heads
    assert engine.own[0].shape[1] == 4
    rows = torch.arange(1.0, 5).repeat_interleave(kv)[:, None, None]
    beside = engine.to_prompts(rows)  # [slots * kv, k, 1]
    assert beside[::kv, 0, 0].tolist() == [1, 3, 4] and beside[0, 1] == 2  # first beside each prompt; and a second
    assert engine.from_prompts(beside).equal(rows)


@torch.no_grad()
def test_rows_that_begin_anew_see_their_prompt_and_nothing_else_beside_rows_that_hold_nothing(tiny_model):
    model = tiny_model.double()
    engine = Engine(model, 3, 2, 2, 5, 60)
    engine.prefill([0], PROMPTS[:1])
    begin(engine, [0, 1], [0, 0], [0, 0, None])
    engine.reserve(WIDTH + 5)
    for token in range(WIDTH - 2):
        engine.step(torch.tensor([token, token + 1, 9]))
    engine.prefill([1], PROMPTS[1:2])
    begin(engine, [2], [1], [0, None, 1])  # row 2 begins with another prompt, row 0 goes on, row 1 has ended
    for token in range(5):
        logits = engine.step(torch.tensor([token, 3, token + 7]))
    expected = model(torch.tensor([PROMPTS[1] + list(range(7, 12))]))[0, -1]
    torch.testing.assert_close(logits[2], expected, atol=1e-12, rtol=0)
    expected = model(torch.tensor([PROMPTS[0] + list(range(WIDTH - 2)) + list(range(5))]))[0, -1]
    torch.testing.assert_close(logits[0], expected, atol=1e-12, rtol=0)
