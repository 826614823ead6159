"""The sampler draws from exactly the distribution it states, scores that one, and its row-keyed noise depends on
the key alone."""

import json
import math
from pathlib import Path

import pytest
import torch

from t1mini import sampler
from t1mini.sampler import fold, row_uniform, sample, sampling_distribution, scored

GOLDEN_CASES = json.loads((Path(__file__).parent / "golden" / "sampler.json").read_text(encoding="utf-8"))["cases"]
FILTERS = [{}, {"top_k": 4}, {"top_p": 0.7}, {"min_p": 0.25}, {"top_k": 7, "top_p": 0.9, "min_p": 0.1}, {"vocab_limit": 6}]
V = 11


def random_logits(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def noise_source(kind: str, rows: int, seed: int = 1) -> dict:
    if kind == "generator":
        return {"generator": torch.Generator().manual_seed(seed)}
    return {"row_keys": fold(seed, torch.arange(rows))}


# --- the distribution -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", GOLDEN_CASES, ids=lambda case: "-".join(f"{k}={v}" for k, v in case["settings"].items()))
def test_the_distribution_is_that_of_transformers(case):
    found = sampling_distribution(torch.tensor(case["logits"]), **case["settings"])
    torch.testing.assert_close(found, torch.tensor(case["probs"]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("source", ["generator", "row_keys"])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_samples_follow_the_stated_distribution(filters, source):
    n = 120_000
    logits = random_logits(2, V)  # two distributions, their rows alternating
    tokens, _ = sample(logits.repeat(n, 1), temperature=1.3, **filters, **noise_source(source, 2 * n))
    for row, p in enumerate(sampling_distribution(logits.double(), temperature=1.3, **filters)):
        counts = torch.bincount(tokens[row::2], minlength=V)
        assert counts[p == 0].sum() == 0, "a token that was filtered out was sampled"
        p, counts = p[p > 0], counts[p > 0]
        chi_square = ((counts - n * p) ** 2 / (n * p)).sum().item()
        assert chi_square < 35.56  # exceeded with probability 1e-4 at 10 degrees of freedom, less often at fewer


@pytest.mark.parametrize("source", ["generator", "row_keys"])
@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
def test_the_likeliest_token_always_stays(filters, source):
    logits = random_logits(300, V, seed=2)
    tokens, _ = sample(logits, temperature=1.3, **filters, **noise_source(source, 300))
    assert torch.equal(tokens, logits.argmax(-1))


def test_min_p_on_logits_is_min_p_on_probabilities():
    logits, temperature, min_p = random_logits(50, V, seed=3, dtype=torch.float64), 1.3, 0.2
    p = (logits / temperature).softmax(-1)
    p = torch.where(p >= min_p * p.amax(-1, keepdim=True), p, 0.0)
    found = sampling_distribution(logits, temperature=temperature, min_p=min_p)
    torch.testing.assert_close(found, p / p.sum(-1, keepdim=True), atol=1e-14, rtol=0)
    assert 1 < (found > 0).sum(-1).float().mean() < V  # the filter did something, but not everything


@pytest.mark.parametrize("bad", [{"temperature": -0.1}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.01},
                                 {"min_p": -0.1}, {"min_p": 1.01}, {"top_p": math.nan}, {"min_p": math.nan}], ids=str)
@pytest.mark.parametrize("function", [sample, sampling_distribution])
def test_a_setting_out_of_range_is_refused(function, bad):
    with pytest.raises(ValueError):
        function(random_logits(3, V), **bad)


# --- the score ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("source", ["generator", "row_keys"])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_score_is_of_the_distribution_drawn_from(filters, source):
    logits = random_logits(40, V, seed=4, dtype=torch.float64)
    tokens, logprobs = sample(logits, temperature=1.3, **filters, **noise_source(source, 40))
    every = sampling_distribution(logits, temperature=1.3, **filters).log()
    torch.testing.assert_close(logprobs, every[torch.arange(40), tokens], atol=1e-14, rtol=0)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_kept_mass_is_what_the_filters_left(filters):
    logits = random_logits(9, V, seed=5, dtype=torch.float64)
    *_, mass = sample(logits, temperature=1.3, **filters, generator=torch.Generator().manual_seed(0), return_kept_mass=True)
    scored = (logits[:, : filters.get("vocab_limit")] / 1.3).softmax(-1)
    kept = sampling_distribution(logits, temperature=1.3, **filters)[:, : scored.shape[1]] > 0
    torch.testing.assert_close(mass, (scored * kept).sum(-1), atol=1e-14, rtol=0)


def test_scored_is_what_min_p_keeps_and_what_was_sampled():
    logits, min_p = random_logits(40, V, seed=4, dtype=torch.float64), 0.2
    least = logits.argmin(-1)  # as if rounding had put it below the border
    z = scored(logits, least, min_p)
    expected = (sampling_distribution(logits, min_p=min_p) > 0) | torch.nn.functional.one_hot(least, V).bool()
    assert torch.equal(z > -math.inf, expected) and torch.equal(z[expected], logits[expected])
    assert scored(logits, least, 0.0) is logits


def test_temperature_0_is_greedy_and_scored_at_1():
    logits = random_logits(30, V, seed=6, dtype=torch.float64)
    tokens, logprobs = sample(logits, temperature=0)
    assert torch.equal(tokens, logits.argmax(-1))
    torch.testing.assert_close(logprobs, logits.log_softmax(-1).amax(-1), atol=1e-14, rtol=0)
    assert torch.equal(sampling_distribution(logits, temperature=0), torch.nn.functional.one_hot(tokens, V).double())


@pytest.mark.parametrize("temperature", [0, 1.3])
@pytest.mark.parametrize("source", ["generator", "row_keys"])
def test_ids_beyond_the_vocab_limit_count_for_nothing(temperature, source):
    limit = 6
    logits = random_logits(500, V, seed=7)
    inflated = logits.clone()
    inflated[:, limit:] += 50.0
    settings = {"temperature": temperature, "vocab_limit": limit}
    tokens, logprobs = sample(inflated, **settings, **noise_source(source, 500))
    alone, alone_logprobs = sample(logits[:, :limit], temperature=temperature, **noise_source(source, 500))
    assert torch.equal(tokens, alone) and torch.equal(logprobs, alone_logprobs)
    p = sampling_distribution(inflated, **settings)
    assert p.shape == inflated.shape and p[:, limit:].count_nonzero() == 0


# --- the noise ------------------------------------------------------------------------------------------------------

def test_the_same_generator_seed_gives_the_same_tokens_and_another_seed_others():
    logits = random_logits(200, V)
    first, again, other = (sample(logits, **noise_source("generator", 200, seed))[0] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("rows", [[2], [4, 0, 3], [6, 5, 4, 3, 2, 1, 0]], ids=str)
def test_a_row_samples_the_same_whatever_rows_share_its_batch(rows):
    logits, keys = random_logits(7, V, seed=8), fold(9, torch.arange(7))
    together = sample(logits, temperature=1.3, row_keys=keys)
    apart = sample(logits[rows], temperature=1.3, row_keys=keys[rows])
    assert all(torch.equal(a[rows], b) for a, b in zip(together, apart))


FOLDED = fold(0, *torch.meshgrid(*(torch.arange(n) for n in (60, 70, 8, 5)), indexing="ij")).flatten()  # step, prompt, response, t


@pytest.mark.parametrize("keys", [FOLDED, torch.arange(len(FOLDED))], ids=["folded keys", "consecutive keys"])
def test_row_noise_is_uniform_and_independent(keys):
    u = row_uniform(keys)
    n = len(u)
    gap = (u.sort().values - (torch.arange(n) + 0.5) / n).abs().max()
    assert gap * n**0.5 < 1.95  # Kolmogorov-Smirnov: exceeded with probability 1e-3
    for lag in (1, 2, 5, 40):
        assert abs(((u[lag:] - 0.5) * (u[:-lag] - 0.5)).mean()) < 4 / 12 / n**0.5  # of neighbours in any of the parts


@pytest.mark.parametrize("bits, end", [(0, 0), (-1, -1)])
@pytest.mark.parametrize("words", [V, 2 * sampler.BLOCK + 3])
def test_the_ends_of_the_hash_draw_the_first_and_the_last_word_that_is_kept(bits, end, words, monkeypatch):
    monkeypatch.setattr(sampler, "mix", lambda x: torch.full_like(x, bits))
    keys, logits = torch.arange(3), random_logits(3, words, seed=2)
    assert ((row_uniform(keys) >= 0) & (row_uniform(keys) < 1)).all()
    ids, logprobs = sample(logits, min_p=0.5, row_keys=keys)
    kept = sampling_distribution(logits, min_p=0.5) > 0
    assert ids.tolist() == [row.nonzero()[end].item() for row in kept] and logprobs.isfinite().all()


@pytest.mark.parametrize("words", [sampler.BLOCK - 1, sampler.BLOCK, 3 * sampler.BLOCK, 2 * sampler.BLOCK + 7])
def test_a_large_vocabulary_is_drawn_from_by_blocks_as_by_one_sum(words, monkeypatch):
    logits, keys = random_logits(4000, words, seed=3, dtype=torch.float64), fold(5, torch.arange(4000))
    ends = sampling_distribution(logits, min_p=0.01).cumsum(-1)
    expected = (ends <= row_uniform(keys)[:, None]).sum(-1)
    assert torch.equal(sample(logits, min_p=0.01, row_keys=keys)[0], expected)
    in_float32 = sample(logits.float(), min_p=0.01, row_keys=keys)[0]
    assert (in_float32 != expected).float().mean() < 1e-3  # where the number lies at an end, to rounding


def test_folded_keys_differ_wherever_one_part_does():
    sizes = (3, 4, 5, 6, 7)  # seed, step, prompt, response, t
    parts = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    assert len(fold(*parts).unique()) == math.prod(sizes)


def test_folding_a_tensor_is_folding_each_of_its_numbers():
    assert fold(3, 1, torch.tensor([[0], [5]]), torch.arange(4))[1, 2] == fold(fold(3, 1), 5, 2)
