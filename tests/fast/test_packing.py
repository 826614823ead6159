"""Packed or in whole rows, a batch has the same hidden states, scores and gradients."""

import pytest
import torch

from t1mini.model import Qwen
from t1mini.fast.packing import Packing, pack
from t1mini.rollout import score
from t1mini.update import scoring_batches

PROMPTS = [[3, 1, 4], [3, 1, 4], [9, 2, 6, 5], [3, 1, 4], [8]]
RESPONSES = [[5, 3, 5, 8, 9], [7], [9, 3], [2, 3, 8, 4], [6, 2, 6, 4, 3, 3, 8]]


def test_every_token_stands_once_and_every_row_reads_its_own():
    packing = pack(PROMPTS, RESPONSES)
    assert len(packing.tokens) == 3 + 4 + 1 + sum(map(len, RESPONSES))
    for row, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES)):
        whole = [*prompt, *response]
        assert packing.tokens[packing.rows[row, : len(whole)]].tolist() == whole
        assert packing.positions[packing.rows[row, : len(whole)]].tolist() == list(range(len(whole)))
    assert packing.rows.flatten()[packing.home].tolist() == list(range(len(packing.tokens)))


def gradients(model: Qwen, monkeypatch, pays: bool):
    monkeypatch.setattr(Packing, "pays", pays)
    model.zero_grad()
    logprobs, entropy, mask = score(model, PROMPTS, RESPONSES, temperature=1.3, vocab_limit=30)
    (logprobs.sum() + (entropy * torch.arange(len(PROMPTS))[:, None]).sum()).backward()
    return [logprobs, entropy, mask, *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("recompute", [False, True], ids=["", "recompute"])
@pytest.mark.parametrize("compiled", [False, True], ids=["", "compiled"])
def test_scores_and_gradients_are_those_of_whole_rows(tiny_model, monkeypatch, recompute, compiled):
    model = tiny_model.double()
    plain = gradients(model, monkeypatch, pays=False)
    model.recompute = recompute
    if compiled:
        model.compile_layers(backend="aot_eager")
    for got, expected in zip(gradients(model, monkeypatch, pays=True), plain, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-11, rtol=0)


def test_packing_is_used_where_it_pays():
    alone = pack([[1], [2], [3]], [[4] * 9] * 3)
    shared = pack([[1] * 9] * 3, [[4] * 9] * 3)
    ragged = pack([[1], [2], [3]], [[4], [4], [4] * 20])
    assert not alone.pays and shared.pays and ragged.pays


def test_rows_stay_with_their_prompt_where_that_saves_more_than_padding_costs():
    prompts_of = lambda batches, k: [len({row // k for row in batch}) for batch in batches]
    long_prompts = scoring_batches(range(8), [[1] * 50, [2] * 50], [51, 52, 53, 54] * 2, 4, 216)
    assert prompts_of(long_prompts, 4) == [1, 1]
    short_prompts = scoring_batches(range(8), [[1], [2]], [2, 40, 3, 41] * 2, 4, 170)
    assert sorted(row for batch in short_prompts for row in batch) == list(range(8))
    assert {1, 3, 5, 7} == set(short_prompts[0])  # like lengths together
    assert sorted(row for batch in scoring_batches([1, 6], [[1], [2]], [2, 40, 3, 41] * 2, 4, 120) for row in batch) == [1, 6]
