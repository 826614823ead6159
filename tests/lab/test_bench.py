"""Bench measures the work it says, with and without the fast paths, and reports what it promises."""

import json

import pytest

from t1mini.__main__ import main
from t1mini.lab.bench import Bench, BenchConfig
from t1mini.lab.memory import SHAPES
from t1mini.model import QwenConfig
from t1mini.runs.team import Team

SMALL = ("--config data/tiny-sft/config.json --prompts 2 --k 3 --max-new-tokens 9 --tokens 9 --repeats 1 "
         "--workers 1 --threads 1").split()
KEYS = {"seconds", "tokens_per_second", "parts", "floors", "settings", "made_by"}
SAMPLING, UPDATE = {"prefill", "decode", "sampling"}, {"reference", "forward", "backward", "optimiser"}
PARTS = {"rollout": SAMPLING, "update": UPDATE, "step": SAMPLING | UPDATE, "logprobs": {"forward"}}


@pytest.mark.parametrize("flags", ["", "--plain --lengths lognormal --dtype bfloat16"])
def test_the_figures_are_those_promised(tmp_path, capsys, flags):
    path = tmp_path / "figures.json"
    assert main(["bench", *PARTS, *SMALL, *flags.split(), "--json", str(path)]) == 0
    results = json.loads(path.read_text())
    assert set(results) == set(PARTS)
    for name, figures in results.items():
        assert KEYS <= set(figures) and ("--plain" in flags or PARTS[name] <= set(figures["parts"]))
        assert figures["floors"]["flops"] > 0 and 0 < sum(figures["parts"].values()) <= figures["seconds"]
    assert "of what the machine allows" in capsys.readouterr().out
    assert main(["bench", "rollout", *SMALL, "--json", "/nowhere/x.json"]) == 2
    assert "No such file or directory: '/nowhere/x.json" in capsys.readouterr().err


def test_shapes_have_names(monkeypatch):
    monkeypatch.setitem(SHAPES, "smollm2-135m", QwenConfig(50, 16, 24, 2, 2, 1, 8, qkv_bias=False))
    bench = Bench("logprobs", BenchConfig(shape="smollm2-135m"))
    assert bench.policy.config.vocab_size == 50 and not bench.policy.config.qkv_bias


def test_lengths_are_fixed_or_heavy_tailed_and_so_are_the_responses():
    settings = dict(prompts=25, k=20, max_new_tokens=40)
    assert set(Bench("rollout", BenchConfig(**settings)).lengths.flatten().tolist()) == {40}
    tail = Bench("rollout", BenchConfig(**settings, lengths="lognormal"))
    lengths = tail.lengths.flatten().double()
    assert lengths.mean() == pytest.approx(10, rel=0.1) and lengths.max() == 40 and lengths.median() < 9
    tail.rollout()
    assert tail.rollouts.lengths.tolist() == lengths.tolist() and not tail.rollouts.finished.any()
    parts = [Bench("rollout", BenchConfig(**settings), Team(rank, 2)).prompts for rank in (0, 1)]
    assert parts == [tail.prompts[::2], tail.prompts[1::2]]


@pytest.mark.parametrize("k", [2, 6])
def test_the_floors_count_a_prompt_once_whatever_k(k, monkeypatch):
    """By hand: three layers' matrices, the head, and attention over what came before."""
    monkeypatch.setattr("t1mini.lab.bench.rates", lambda config, shape: (2e9, 3e9))
    floors = Bench("rollout", BenchConfig(prompts=3, k=k, prompt_len=5, max_new_tokens=10)).floors()
    matrices, tokens, cache = 3 * (96 * (96 + 32 + 32) + 96 * 96 + 3 * 96 * 256), 3 * k * 10, 3 * 2 * 32
    forward = 2 * (matrices + 96 * 118) * tokens + 2 * matrices * 15 + 4 * 3 * 96 * tokens * (5 + 10 / 2)
    read = 10 * 4 * (matrices + 15 * cache) + 4 * cache * tokens * 10 / 2
    assert floors["flops"] == pytest.approx(forward / 2e9) and floors["gflops_per_second"] == 2
    assert floors["bytes"] == pytest.approx(read / 3e9) and floors["gigabytes_per_second"] == 3
