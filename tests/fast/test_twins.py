"""The functions of t1mini.fast are rollout.generate and rollout.score: the same tokens, log-probabilities and gradients."""

import copy
import json
from pathlib import Path

import pytest
import torch

from t1mini import rollout
from t1mini.fast import decode, schedule, twins
from t1mini.fast import score as scoring
from t1mini.fast.decode import Replayed
from t1mini.fast.schedule import fit
from t1mini.rl import RLConfig
from t1mini.runs.checkpoint import load_model
from t1mini.runs.machine import Clock
from t1mini.sampler import Sampling

GOLDEN = Path(__file__).parents[1] / "golden"
PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5, 8, 9, 7], [9], [2, 7, 1]]
MANY = [[1 + i, 2 + i % 3][: 1 + i % 2] for i in range(16)]  # so that rows wait for a prompt's slot while others go on
SAMPLING = Sampling(temperature=1.3, min_p=0.1, vocab_limit=30)
COMMON = dict(max_new_tokens=25, eos_id=7, seed=11)


def same(fast, slow, atol=1e-12):
    assert torch.equal(fast.response_ids, slow.response_ids) and torch.equal(fast.lengths, slow.lengths)
    assert torch.equal(fast.finished, slow.finished)
    torch.testing.assert_close(fast.logprobs, slow.logprobs, atol=atol, rtol=0)
    torch.testing.assert_close(fast.kept_mass, slow.kept_mass, atol=atol, rtol=0)


@pytest.mark.parametrize("prompts", [PROMPTS, MANY], ids=["some", "many"])
@pytest.mark.parametrize("budget", [1, 100, 500, 700, 10_000])
def test_responses_are_the_same_whatever_shares_the_batch(tiny_model, budget, prompts):
    model = tiny_model.double()
    slow = rollout.generate(model, prompts, 5, SAMPLING, **COMMON)
    assert slow.finished.any() and not slow.finished.all()  # else this test sees only half of it
    same(schedule.generate(model, prompts, 5, SAMPLING, **COMMON, max_batch_tokens=budget), slow)
    same(rollout.generate(model, prompts, 5, SAMPLING, **COMMON, max_batch_tokens=budget), slow)


@pytest.mark.parametrize("sampling", [Sampling(0.0), Sampling(1.1, top_k=5, top_p=0.8), Sampling(vocab_limit=19)], ids=str)
def test_responses_are_the_same_whatever_they_are_sampled_with(tiny_model, sampling):
    model = tiny_model.double()
    same(schedule.generate(model, PROMPTS, 3, sampling, **COMMON), rollout.generate(model, PROMPTS, 3, sampling, **COMMON))


@pytest.mark.parametrize("ends", [[7, 3, 12], {9}, ()], ids=str)
def test_responses_are_the_same_with_several_end_tokens_or_none(tiny_model, ends):
    model, settings = tiny_model.double(), COMMON | {"eos_id": ends}
    slow = rollout.generate(model, PROMPTS, 5, SAMPLING, **settings)
    assert bool(ends) == slow.finished.any().item()
    same(schedule.generate(model, PROMPTS, 5, SAMPLING, **settings, max_batch_tokens=500), slow)


@pytest.mark.parametrize("generate", [schedule.generate, rollout.generate])
def test_lengths_end_responses_early(tiny_model, generate):
    limits = torch.tensor([1, 25, 3, 7, 25] * 5)
    rollouts = generate(tiny_model, PROMPTS, 5, **(COMMON | {"eos_id": None}), lengths=limits, max_batch_tokens=300)
    assert torch.equal(rollouts.lengths, limits) and not rollouts.finished.any()


@pytest.mark.parametrize("bucket, window", [(8, 4), (128, 16)], ids=["as on a CPU", "as on a GPU"])
def test_rows_that_have_ended_may_idle_past_any_limit(tiny_model, monkeypatch, bucket, window):
    monkeypatch.setitem(decode.BUCKET, "cpu", bucket)
    monkeypatch.setitem(schedule.WINDOW, "cpu", window)
    monkeypatch.setattr(schedule.Schedule, "shrink", lambda self: False)  # they stay to the end
    model = tiny_model.double()
    for limit in (1, 5, 6, 10, 14, 18, 22):
        given = COMMON | {"max_new_tokens": limit}
        slow = rollout.generate(model, MANY, 5, SAMPLING, **given)
        for budget in (60, 10_000):
            same(schedule.generate(model, MANY, 5, SAMPLING, **given, max_batch_tokens=budget), slow)


def test_a_model_of_bfloat16_is_scored_too(tiny_model):
    model = tiny_model.bfloat16()
    slow, fast = (score(model, PROMPTS, PROMPTS)[0] for score in (rollout.score, scoring.score))
    torch.testing.assert_close(fast.float(), slow.float(), atol=0.1, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["qwen2-tiny", "qwen3-tiny", "llama-tiny"])
def test_checkpoints_of_each_family_go_on_as_in_transformers_and_are_scored_alike(name):
    model, cases = load_model(GOLDEN / name), json.loads((GOLDEN / name / "expected.json").read_text())["cases"]
    prompts = [case["ids"] for case in cases]
    rollouts = schedule.generate(model, prompts, 2, Sampling(0.0), max_new_tokens=24, seed=0)
    assert rollouts.unpadded == [case["greedy_24"] for case in cases for _ in range(2)]
    plain, found = (score(model, prompts, rollouts.unpadded[::2]) for score in (rollout.score, scoring.score))
    for got, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_in_bfloat16_scores_are_as_near_to_float32s_as_the_plain_ones(tiny_model):
    prompts, responses = [PROMPTS[0]] * 4, [[3, 5, 8, 9, 7, 9, 3][: 3 + i] for i in range(4)]
    exact = rollout.score(tiny_model, prompts, responses)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, plain = (score(tiny_model, prompts, responses) for score in (scoring.score, rollout.score))
    error = lambda scored: max((a - b).abs().max().item() for a, b in zip(scored[:2], exact))
    assert error(found) < max(2 * error(plain), 0.05)


def gradients(score, model, prompts, responses, **options):
    model.zero_grad()
    logprobs, entropy, mask = score(model, prompts, responses, SAMPLING, **options)
    (logprobs.sum() + (entropy * torch.arange(len(prompts))[:, None]).sum()).backward()
    return [logprobs.detach(), entropy.detach(), mask, *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("recompute", [False, True], ids=["", "recompute"])
def test_scores_and_gradients_are_the_same(tiny_model, recompute):
    model = tiny_model.double()
    prompts = [[3, 1, 4], [3, 1, 4], [9, 2, 6, 5], [3, 1, 4], [8]]
    responses = [[5, 3, 5, 8, 9], [7], [9, 3], [2, 3, 8, 4], [6, 2, 6, 4, 3, 3, 8]]
    plain = gradients(rollout.score, model, prompts, responses)
    found = gradients(scoring.score, model, prompts, responses, recompute=recompute)
    for got, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("score", [scoring.score, rollout.score])
def test_scoring_finds_the_log_probabilities_noted_while_sampling(tiny_model, score):
    model, sampling = tiny_model.double(), Sampling(1.3, vocab_limit=30)
    rollouts = schedule.generate(model, PROMPTS, 3, sampling, **COMMON)
    logprobs, entropy, mask = score(model, [p for p in PROMPTS for _ in range(3)], rollouts.unpadded, sampling)
    assert torch.equal(mask, rollouts.mask)
    torch.testing.assert_close(logprobs, rollouts.logprobs, atol=1e-12, rtol=0)
    assert (entropy[mask] > 0).all() and not entropy[~mask].any()


def test_a_stage_takes_the_plain_ones_where_it_is_told_to_and_its_clock_the_time(tiny_model):
    for config, name in ((RLConfig(), "t1mini.fast"), (RLConfig(plain=True), "t1mini.rollout"),
                         (RLConfig(exercise="mine.py"), "t1mini.rollout")):
        clock = Clock()
        generate, _ = twins(config, clock)
        chosen = generate.args[0]
        assert getattr(chosen, "func", chosen).__module__.startswith(name)
        generate(tiny_model, PROMPTS, 2, **COMMON)
        assert clock.seconds["rollout"] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("budget", [500, 10_000])
def test_a_gpu_replays_its_graph_to_the_same_responses(tiny_model, budget):
    there = schedule.generate(copy.deepcopy(tiny_model).cuda(), PROMPTS, 5, SAMPLING, **COMMON, max_batch_tokens=budget)
    here = schedule.generate(tiny_model, PROMPTS, 5, SAMPLING, **COMMON, max_batch_tokens=budget)
    assert torch.equal(there.response_ids.cpu(), here.response_ids)
    torch.testing.assert_close(there.logprobs.cpu(), here.logprobs, atol=1e-4, rtol=0)


def test_what_a_graph_would_replay_reads_and_writes_the_same_tensors(tiny_model, monkeypatch):
    """A graph keeps the addresses it was captured with: between two `forget`s the state must stay in place."""
    seen = []

    class Watched(Replayed):
        def __call__(self):
            at, engine = self.work.__self__, self.work.__self__.engine
            tensors = [at.token, at.row_keys, at.place, *at.window, engine.bias, engine.start, engine.column, engine.row_at,
                       engine.place_of, *engine.own, *engine.prompts]
            state = [x.data_ptr() for x in tensors]
            assert not self.calls or state == seen[-1]
            seen.append(state)
            super().__call__()

    monkeypatch.setattr(schedule, "Replayed", Watched)
    model = tiny_model.double()
    for budget in (200, 10_000):
        watched = schedule.generate(model, PROMPTS, 5, SAMPLING, **COMMON, max_batch_tokens=budget)
        assert torch.equal(watched.response_ids, rollout.generate(model, PROMPTS, 5, SAMPLING, **COMMON).response_ids)
    assert len({tuple(state) for state in seen}) < len(seen) / 2


@pytest.mark.parametrize("responses, k", [(64, 8), (60, 1), (100, 100)])
def test_what_fits_stays_within_the_budget_and_wastes_little(responses, k):
    for budget in (130, 1_000, 5_000, 20_000):
        rows, slots = fit(responses, k, 100, 20, budget)
        assert 1 <= rows <= responses and 1 <= slots <= responses // k and rows <= slots * k
        assert rows == 1 or rows * 100 + slots * 20 <= budget
        more = rows + 1
        kept = min(responses // k, schedule.PROMPTS_KEPT * -(-more // k))
        assert rows == responses or more * 100 + kept * 20 > budget
