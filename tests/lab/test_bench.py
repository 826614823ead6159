"""Bench measures the work it says, with and without the fast paths, and reports what it promises."""

import json

import pytest
import torch

from t1mini.__main__ import main
from t1mini.lab.bench import Bench, BenchConfig
from t1mini.runs.clock import Clock
from t1mini.runs.team import Team

SMALL = ["--prompts", "2", "--k", "3", "--max-new-tokens", "9", "--repeats", "1", "--workers", "1", "--tokens", "9"]
SHAPE = {"model_type": "qwen2", "vocab_size": 50, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "tie_word_embeddings": True}
PARTS = {"rollout": {"prefill", "decode", "sampling"}, "update": {"reference", "optimiser"},
         "step": {"prefill", "reference", "forward", "backward", "optimiser"}, "logprobs": {"forward", "backward"}}


@pytest.fixture
def shape(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SHAPE))
    return str(path)


@pytest.mark.parametrize("flags", [[], ["--plain", "--lengths", "lognormal", "--dtype", "bfloat16"]], ids=str)
def test_the_figures_are_those_promised(tmp_path, shape, capsys, flags):
    figures = tmp_path / "figures.json"
    assert main(["bench", *PARTS, *SMALL, *flags, "--config", shape, "--json", str(figures)]) == 0
    results = json.loads(figures.read_text())
    assert set(results) == set(PARTS)
    for name, parts in PARTS.items():
        assert {"seconds", "tokens_per_second", "parts", "floors", "settings", "made_by"} <= set(results[name])
        assert parts <= set(results[name]["parts"]) and results[name]["floors"]["flops"] > 0
        assert 0 < sum(results[name]["parts"].values()) <= results[name]["seconds"]
    assert "of what the machine allows" in capsys.readouterr().out


def test_lengths_are_fixed_or_heavy_tailed_and_so_are_the_responses(shape):
    bench = lambda **settings: Bench("rollout", BenchConfig(config=shape, prompts=40, k=25, max_new_tokens=40, **settings))
    assert set(bench().lengths.flatten().tolist()) == {40}
    tail = bench(lengths="lognormal")
    lengths = tail.lengths.flatten()
    assert lengths.double().mean() == pytest.approx(10, rel=0.1) and lengths.max() == 40 and lengths.double().median() < 9
    tail.rollout(Clock())
    assert torch.equal(tail.rollouts.lengths, lengths) and not tail.rollouts.finished.any()


def test_ranks_share_the_prompts():
    whole, *parts = (Bench("rollout", BenchConfig(prompts=5, k=2), team) for team in (Team(), Team(0, 2), Team(1, 2)))
    assert [part.prompts for part in parts] == [whole.prompts[::2], whole.prompts[1::2]]


@pytest.mark.parametrize("k", [2, 6])
def test_the_floors_count_a_prompt_once_whatever_k(shape, k):
    """By hand: two layers' matrices, the head, and attention over what came before."""
    floors = Bench("rollout", BenchConfig(config=shape, prompts=3, k=k, prompt_len=5, max_new_tokens=10)).floors()
    matrices, tokens = 2 * (8 * (8 + 4 + 4) + 8 * 8 + 3 * 8 * 12), 3 * k * 10
    forward = 2 * (matrices + 8 * 50) * tokens + 2 * matrices * 15 + 4 * 2 * 8 * tokens * (5 + 10 / 2)
    read = 10 * 4 * (matrices + 15 * 16) + 4 * 16 * tokens * 10 / 2  # 16 numbers a token in the cache
    assert floors["flops"] * floors["gflops_per_second"] * 1e9 == pytest.approx(forward)
    assert floors["bytes"] * floors["gigabytes_per_second"] * 1e9 == pytest.approx(read)
    assert floors["prompt_cache_megabytes"] * 1e6 == 4 * 16 * 15


def test_figures_need_a_folder_to_go_to(capsys):
    assert main(["bench", "rollout", "--json", "/nowhere/x.json"]) == 2
    assert "there is no folder /nowhere" in capsys.readouterr().err
