"""Whatever sits beside a response, and whenever it begins, it is the one that the plain path samples."""

import copy

import pytest
import torch

from t1mini.fast import schedule as scheduler
from t1mini.rollout import generate
from t1mini.fast.schedule import Replayed, fit

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7], [9], [2, 7, 1]]
MANY = [[1 + i, 2 + i % 3][: 1 + i % 2] for i in range(16)]  # so that rows wait for a prompt's slot while others go on
COMMON = dict(max_new_tokens=25, eos_id=7, temperature=1.3, min_p=0.02, vocab_limit=30, seed=11)


@pytest.mark.parametrize("prompts", [PROMPTS, MANY], ids=["some", "many"])
@pytest.mark.parametrize("budget", [1, 60, 100, 200, 500, 700, 1_000, 10_000])
def test_responses_are_those_of_the_plain_path(tiny_model, budget, prompts):
    model = tiny_model.double()
    fast, slow = (generate(model, prompts, 5, **COMMON, max_batch_tokens=budget, plain=plain) for plain in (False, True))
    assert torch.equal(fast.response_ids, slow.response_ids) and torch.equal(fast.lengths, slow.lengths)
    assert torch.equal(fast.finished, slow.finished) and fast.finished.any() and not fast.finished.all()
    torch.testing.assert_close(fast.logprobs, slow.logprobs, atol=1e-12, rtol=0)
    torch.testing.assert_close(fast.kept_mass, slow.kept_mass, atol=1e-12, rtol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("budget", [500, 10_000])
def test_a_gpu_replays_its_graph_to_the_same_responses(tiny_model, budget):
    there = generate(copy.deepcopy(tiny_model).cuda(), PROMPTS, 5, **COMMON, max_batch_tokens=budget)
    here = generate(tiny_model, PROMPTS, 5, **COMMON, max_batch_tokens=budget)
    assert torch.equal(there.response_ids.cpu(), here.response_ids)
    torch.testing.assert_close(there.logprobs.cpu(), here.logprobs, atol=1e-4, rtol=0)


class Calls(Replayed):
    """Says it is on a GPU, where calls after the first would replay a graph; here they call."""

    def __init__(self, work, device):
        super().__init__(work, device)
        self.replays = 0

    def __call__(self):
        self.replays += self.calls > 0
        self.calls += 1
        self.work()


def test_what_a_graph_would_replay_reads_and_writes_the_same_tensors(tiny_model, monkeypatch):
    """A graph keeps the addresses it was captured with: between two `forget`s the state must stay in place."""
    seen = []

    class Watched(Calls):
        def __call__(self):
            sampler = self.work.__self__
            state = [x.data_ptr() for x in (sampler.token, sampler.row_noise, sampler.times, sampler.place, *sampler.window, *sampler.engine.keys,
                                            sampler.engine.bias, sampler.engine.position, sampler.engine.place, sampler.engine.column,
                                            *sampler.engine.prompt_keys)]
            if self.calls:
                assert state == seen[-1]
            seen.append(state)
            super().__call__()

    monkeypatch.setattr(scheduler, "Replayed", Watched)
    model = tiny_model.double()
    for budget in (200, 10_000):
        watched = generate(model, PROMPTS, 5, **COMMON, max_batch_tokens=budget)
        assert torch.equal(watched.response_ids, generate(model, PROMPTS, 5, **COMMON, plain=True).response_ids)
    assert len({tuple(state) for state in seen}) < len(seen) / 2


def test_lengths_end_responses_early(tiny_model):
    most = torch.tensor([1, 25, 3, 7, 25] * 5)
    for plain in (False, True):
        rollouts = generate(tiny_model, PROMPTS, 5, **{**COMMON, "eos_id": None}, lengths=most, max_batch_tokens=300, plain=plain)
        assert torch.equal(rollouts.lengths, most) and not rollouts.finished.any()


@pytest.mark.parametrize("responses, k", [(64, 8), (60, 1), (100, 100)])
def test_what_fits_stays_within_the_budget_and_wastes_little(responses, k):
    for budget in (130, 1_000, 5_000, 20_000):
        rows, slots = fit(responses, k, 100, 20, budget)
        assert 1 <= rows <= responses and 1 <= slots <= responses // k and rows <= slots * k
        assert rows == 1 or rows * 100 + slots * 20 <= budget
        more = rows + 1
        assert rows == responses or more * 100 + min(responses // k, scheduler.SPARE * -(-more // k)) * 20 > budget
