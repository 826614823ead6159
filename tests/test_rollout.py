"""The plain way: rollouts depend on seed, step, prompt and response only, and their log-probabilities are what scoring finds again."""

import pytest
import torch

from t1mini.model import Qwen, QwenConfig
from t1mini.rollout import generate, score
from t1mini.sampler import Sampling

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5], [8]]
EOS, LIMIT, K = 7, 23, 3
SAMPLING = Sampling(temperature=1.3, vocab_limit=19)
SETTINGS = dict(max_new_tokens=LIMIT, eos_id=EOS, seed=5)


@pytest.fixture(scope="module")
def model():
    config = QwenConfig(23, 24, 40, 2, 3, 1, 8, initializer_range=0.2)
    return Qwen(config).initialise(0).double().requires_grad_(False)


@pytest.fixture(scope="module")
def rollouts(model):
    return generate(model, PROMPTS, K, SAMPLING, **SETTINGS)


def responses(rollouts):
    return [rollouts.ids(row) for row in range(len(rollouts.lengths))]


def test_a_prompt_alone_gets_the_responses_it_gets_in_company(model, rollouts):
    for i, prompt in enumerate(PROMPTS):
        alone = generate(model, [prompt], K, SAMPLING, prompt_indices=[i], **SETTINGS)
        assert responses(alone) == responses(rollouts)[i * K : (i + 1) * K]


def test_seed_step_prompt_and_response_each_change_the_noise(model, rollouts):
    base = responses(rollouts)
    assert responses(generate(model, PROMPTS, K, SAMPLING, **{**SETTINGS, "seed": 6})) != base
    assert responses(generate(model, PROMPTS, K, SAMPLING, step=1, **SETTINGS)) != base
    same_prompt = responses(generate(model, [[9, 2]] * 2, K, SAMPLING, **SETTINGS))
    assert len({tuple(r) for r in same_prompt}) > 1 and same_prompt[:K] != same_prompt[K:]


def test_a_response_ends_with_its_end_token_and_padding_follows(rollouts):
    assert rollouts.finished.any() and not rollouts.finished.all()  # else this test sees only half of it
    for row, (length, finished) in enumerate(zip(rollouts.lengths.tolist(), rollouts.finished.tolist())):
        ids = rollouts.response_ids[row].tolist()
        assert EOS not in ids[: length - 1]
        assert (ids[length - 1] == EOS) == finished
        assert finished or length == LIMIT
        assert not any(ids[length:]) and not rollouts.logprobs[row, length:].any()
        assert rollouts.logprobs[row, :length].lt(0).all()  # the end token's log-probability is there too
    assert rollouts.mask.sum(-1).tolist() == rollouts.lengths.tolist()
    assert rollouts.response_ids.shape[1] == rollouts.lengths.max()


def test_several_end_tokens_each_end_a_response(model, rollouts):
    one_of = lambda ends: generate(model, PROMPTS, K, SAMPLING, **{**SETTINGS, "eos_id": ends})
    several = responses(one_of([EOS, 9, 40]))
    for longer, shorter in zip(responses(rollouts), several):
        cut = next((i for i, token in enumerate(longer, 1) if token in (EOS, 9)), LIMIT)
        assert shorter == longer[:cut]
    assert {response[-1] for response in several} >= {EOS, 9}
    assert responses(one_of({EOS})) == responses(rollouts)


def test_an_end_token_as_the_last_allowed_one_counts_as_finished(model, rollouts):
    row = next(r for r in range(len(PROMPTS) * K) if rollouts.finished[r])
    limit = int(rollouts.lengths[row])
    again = generate(model, PROMPTS, K, SAMPLING, **{**SETTINGS, "max_new_tokens": limit})
    assert again.ids(row) == rollouts.ids(row) and again.finished[row]


def test_scoring_equals_one_sequence_at_a_time_through_the_whole_model(model, rollouts):
    prompts = [p for p in PROMPTS for _ in range(K)]
    logprobs, _, _ = score(model, prompts, responses(rollouts), SAMPLING)
    for row, (prompt, response) in enumerate(zip(prompts, responses(rollouts))):
        logp = (model(torch.tensor([prompt + response]))[0, :, :19] / 1.3).log_softmax(-1)
        expected = torch.stack([logp[len(prompt) + t - 1, token] for t, token in enumerate(response)])
        torch.testing.assert_close(logprobs[row, : len(response)], expected, atol=1e-12, rtol=0)


def test_kept_mass_is_the_share_the_filters_leave(model, rollouts):
    torch.testing.assert_close(rollouts.kept_mass, torch.ones_like(rollouts.kept_mass))
    filtered = generate(model, PROMPTS, K, Sampling(1.3, min_p=0.2, vocab_limit=19), **SETTINGS)
    assert (filtered.kept_mass < 1).all() and (filtered.kept_mass > 0.2).all()
    prompts = [p for p in PROMPTS for _ in range(K)]
    logprobs, entropy, _ = score(model, prompts, responses(filtered), Sampling(1.3, min_p=0.2, vocab_limit=19))
    torch.testing.assert_close(logprobs, filtered.logprobs, atol=1e-12, rtol=0)  # of what was sampled
    assert entropy.isfinite().all()


@pytest.mark.parametrize("prompts, k, limit", [([], 2, 3), ([[1], []], 2, 3), ([[1]], 0, 3), ([[1]], 2, 0)])
def test_nothing_to_generate_is_an_error(model, prompts, k, limit):
    with pytest.raises(ValueError):
        generate(model, prompts, k, max_new_tokens=limit, seed=0)
