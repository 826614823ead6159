"""The engine computes what the model with its KV cache computes: same logits, whichever rows are there and whatever their prompts."""

import pytest
import torch
import torch.nn.functional as F

from t1mini.runs.batches import pad
from t1mini.fast.decode import BUCKET, Engine

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7], [9]]
K, WIDTH = 6, BUCKET["cpu"]


def engine_logits(model, prompts, steps, leave_at=(), replayable=False):
    """Logits of every step for given random tokens; at the steps of `leave_at` every third row leaves."""
    rows = len(prompts) * K
    engine = Engine(model, rows, len(prompts), K, max(map(len, prompts)), max(map(len, prompts)) + steps)
    engine.replayable = replayable
    logits = [engine.prefill(range(len(prompts)), prompts).repeat_interleave(K, 0)]
    engine.admit(list(range(rows)), list(range(rows)))
    generator, live = torch.Generator().manual_seed(0), torch.arange(rows)
    with torch.autocast("cpu", enabled=False):
        for step in range(steps):
            if step in leave_at:
                stays = torch.arange(len(live)) % 3 > 0
                live = live[stays]
                engine.select(stays.nonzero().squeeze(-1), oldest=0)
            engine.next_column(oldest=0)
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
        logits.append(model(torch.randint(20, (len(prompts) * K,), generator=generator)[:, None], cache).squeeze(1)[live])
    return logits


@torch.no_grad()
@pytest.mark.parametrize("replayable", [False, True], ids=["", "as a graph"])
@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1], [PROMPTS[0]] * 3], ids=["ragged", "one", "equal"])
@pytest.mark.parametrize("leave_at", [(), (3, 9, WIDTH + 2)], ids=["all stay", "some leave"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-5)], ids=str)
def test_logits_are_those_of_the_model(tiny_model, prompts, leave_at, dtype, tolerance, replayable):
    model, steps = tiny_model.to(dtype), 2 * WIDTH + 5
    fast, slow = engine_logits(model, prompts, steps, leave_at, replayable), plain_logits(model, prompts, steps, leave_at)
    for found, expected in zip(fast, slow, strict=True):
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
    engine.admit(list(range(32)), list(range(32)))
    assert engine.prompt_keys[0].shape[0] == 4 and engine.in_order
    engine.select(torch.tensor([1, 2, 16, 31]), oldest=0)
    assert engine.prompt_keys[0].shape[0] == 3 and engine.place.tolist() == [0, 1, 2, 4] and engine.keys[0].shape[0] == 4


@torch.no_grad()
def test_columns_are_used_again_once_no_row_needs_them(tiny_model):
    engine = Engine(tiny_model, 2, 1, 2, 3, 100)
    for step in range(5 * WIDTH):
        engine.next_column(oldest=max(0, step - WIDTH + 1))
    assert engine.keys[0].shape[2] == WIDTH
    engine.next_column(oldest=0)
    assert engine.keys[0].shape[2] == 2 * WIDTH


@torch.no_grad()
def test_a_row_that_begins_anew_sees_its_prompt_and_nothing_else(tiny_model):
    model = tiny_model.double()
    engine = Engine(model, 2, 2, 2, 5, 60)
    engine.prefill([0], PROMPTS[:1])
    engine.admit([0, 1], [0, 1])
    for token in range(WIDTH - 2):
        engine.next_column(0)
        engine.step(torch.tensor([token, token + 1]))
    engine.prefill([1], PROMPTS[1:2])
    engine.admit([1], [2])  # row 1 begins with another prompt, row 0 goes on
    for token in range(5):
        engine.next_column(0)
        logits = engine.step(torch.tensor([token, token + 7]))
    expected = model(torch.tensor([PROMPTS[1] + list(range(7, 12))]))[0, -1]
    torch.testing.assert_close(logits[1], expected, atol=1e-12, rtol=0)
    expected = model(torch.tensor([PROMPTS[0] + list(range(WIDTH - 2)) + list(range(5))]))[0, -1]
    torch.testing.assert_close(logits[0], expected, atol=1e-12, rtol=0)


@torch.no_grad()
def test_a_row_that_has_ended_makes_way_for_one_that_takes_its_place(tiny_model):
    model = tiny_model.double()
    engine = Engine(model, 3, 2, 2, 5, 60)
    engine.prefill([0], PROMPTS[:1])
    engine.admit([0, 1, 2], [0, 1, 2])
    engine.prefill([1], PROMPTS[1:2])
    engine.admit([0], [2])  # row 2 stands there; it holds nothing any more, but goes through every step
    assert sorted(engine.place.tolist()) == sorted(set(engine.place.tolist())) and engine.place[0] == 2
    engine.next_column(0)
    logits = engine.step(torch.tensor([4, 8, 9]))
    torch.testing.assert_close(logits[0], model(torch.tensor([[*PROMPTS[1], 4]]))[0, -1], atol=1e-12, rtol=0)
    torch.testing.assert_close(logits[1], model(torch.tensor([[*PROMPTS[0], 8]]))[0, -1], atol=1e-12, rtol=0)
