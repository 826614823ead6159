"""Bench measures the work it says, with and without the engine, and reports what it promises."""

import json
import multiprocessing

import pytest
import torch

from t1mini.lab import peers
from t1mini.__main__ import main
from t1mini.lab.bench import TINY, Bench, BenchConfig
from t1mini.runs.clock import Clock
from t1mini.runs.settings import UserError
from t1mini.runs.team import Team
from t1mini.model import QwenConfig

SMALL = ["--prompts", "2", "--k", "3", "--max-new-tokens", "9", "--repeats", "1", "--workers", "1"]


@pytest.mark.parametrize("flags", [[], ["--plain"], ["--lengths", "lognormal"], ["--dtype", "bfloat16"]], ids=str)
def test_the_figures_are_those_promised(tmp_path, capsys, flags):
    assert main(["bench", "rollout", "update", "step", *SMALL, *flags, "--json", str(tmp_path / "b.json")]) == 0
    results = json.loads((tmp_path / "b.json").read_text())
    assert set(results) == {"rollout", "update", "step"}
    for name, parts in (("rollout", {"prefill", "decode", "sampling"}), ("update", {"reference", "optimiser"}), ("step", {"prefill", "reference", "forward", "backward", "optimiser"})):
        found = results[name]
        assert {"seconds", "tokens_per_second", "parts", "floors", "settings", "made_by"} <= set(found) and parts <= set(found["parts"])
        assert found["floors"]["flops"] > 0 and 0 < sum(found["parts"].values()) <= found["seconds"]
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


def test_the_floors_count_a_prompt_once_whatever_k():
    """By hand: two layers' matrices, the head, and attention over what came before."""
    shape = QwenConfig(50, 8, 12, 2, 2, 1, 4)
    matrices = 2 * (8 * (8 + 4 + 4) + 8 * 8 + 3 * 8 * 12)
    for k in (2, 6):
        bench = Bench(BenchConfig(prompts=3, k=k, prompt_len=5, max_new_tokens=10), shape, Team())
        floors, tokens = bench.floors("rollout"), 3 * k * 10
        forward = 2 * (matrices + 8 * 50) * tokens + 2 * matrices * 15 + 4 * 2 * 8 * tokens * (5 + 10 / 2)
        assert floors["flops"] * floors["gflops_per_second"] * 1e9 == pytest.approx(forward)
        assert floors["prompt_cache_megabytes"] * 1e6 == 4 * 2 * 2 * 4 * 15


@pytest.mark.parametrize("words, message", [(["step", "--peer", "transformers"], "compared at bench rollout"), (["rollout", "--peer", "trl"], "compared at bench step"),
                                            (["rollout", "--peer", "vllm"], "choose one of")])
def test_a_peer_has_its_stage(words, message, capsys):
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(peers.NEEDS, "trl", ("no_such_package", "torch"))
    assert main(["bench", "step", "--peer", "trl"]) == 2
    assert "no_such_package not installed; pip install no_such_package torch" in capsys.readouterr().err


def test_a_peer_that_dies_is_one_line():
    here, there = multiprocessing.Pipe()
    waiting = peers.Peer.__new__(peers.Peer)
    waiting.here = here
    there.close()
    with pytest.raises(UserError, match="ended without an answer"):
        waiting.answer("trl")


def test_figures_need_a_folder_to_go_to(capsys):
    assert main(["bench", "rollout", "--json", "/nowhere/x.json"]) == 2
    assert "there is no folder /nowhere" in capsys.readouterr().err
