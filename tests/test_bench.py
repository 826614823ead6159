"""Bench measures the work it says, with and without the engine, and reports what it promises."""

import json

import pytest
import torch

from t1mini.__main__ import main
from t1mini.bench import TINY, Bench, BenchConfig
from t1mini.clock import Clock
from t1mini.distributed import Team

SMALL = ["--prompts", "2", "--k", "3", "--max-new-tokens", "9", "--repeats", "1", "--workers", "1"]


@pytest.mark.parametrize("flags", [[], ["--plain"], ["--lengths", "lognormal"], ["--dtype", "bfloat16"]], ids=str)
def test_the_figures_are_those_promised(tmp_path, capsys, flags):
    assert main(["bench", "rollout", "update", "step", *SMALL, *flags, "--json", str(tmp_path / "b.json")]) == 0
    results = json.loads((tmp_path / "b.json").read_text())
    assert set(results) == {"rollout", "update", "step"}
    for name, parts in (("rollout", {"prefill", "decode", "sampling"}), ("update", {"reference", "optimiser"}), ("step", {"prefill", "reference", "forward and backward", "optimiser"})):
        found = results[name]
        assert {"seconds", "tokens_per_second", "parts", "floors"} <= set(found) and parts <= set(found["parts"])
        assert 0 < found["floors"]["flops"] < found["seconds"] and sum(found["parts"].values()) <= found["seconds"]
    assert "of what the machine allows" in capsys.readouterr().out


def test_lengths_are_fixed_or_heavy_tailed_and_so_are_the_responses():
    bench = lambda **settings: Bench(BenchConfig(prompts=40, k=25, max_new_tokens=40, **settings), TINY, Team())
    assert set(bench().lengths.tolist()) == {40}
    tail = bench(lengths="lognormal")
    assert tail.lengths.double().mean() == pytest.approx(10, rel=0.1) and tail.lengths.max() == 40 and tail.lengths.double().median() < 9
    rollouts = tail.rollout(Clock())
    assert torch.equal(rollouts.lengths, tail.lengths) and not rollouts.finished.any()


def test_ranks_share_the_work():
    parts = [Bench(BenchConfig(prompts=5, k=2, lengths="lognormal"), TINY, Team(rank, 2)) for rank in range(2)]
    assert [len(part.prompts) for part in parts] == [3, 2]
    assert sum(int(part.mine.sum()) for part in parts) == int(parts[0].lengths.sum())
