"""What memory predicts is what the real step allocates."""

from dataclasses import replace

import pytest
import torch

from t1mini.__main__ import main
from t1mini.lab.bench import Bench, BenchConfig
from t1mini.lab.memory import MemoryConfig, PeakBytes, fake_scoring, peaks, report
from t1mini.model import Qwen, QwenConfig
from t1mini.runs.clock import Clock

SHAPE = QwenConfig(2000, 64, 176, 3, 4, 2, 16)
CONFIG = MemoryConfig(prompts=2, k=8, prompt_tokens=20, max_new_tokens=40, micro_batch_tokens=500, max_batch_tokens=10_000)


@pytest.mark.parametrize("changes", [{}, {"recompute": True, "precision": "bfloat16"}, {"micro_batch_tokens": 1000}], ids=str)
def test_the_prediction_is_within_15_percent_of_a_real_step(changes, monkeypatch):
    monkeypatch.setattr("t1mini.lab.bench.TINY", SHAPE)
    config = replace(CONFIG, **changes)
    predicted = peaks(config, SHAPE)
    shared = {name: getattr(config, name) for name in ("prompts", "k", "max_new_tokens", "micro_batch_tokens", "min_p")}
    real = Bench("step", BenchConfig(**shared, prompt_len=config.prompt_tokens, dtype=config.precision))
    real.policy.recompute = config.recompute
    real.step(Clock())  # AdamW's moments come with the first
    with PeakBytes() as rollout:
        real.rollout(Clock())
    with PeakBytes() as scoring, torch.no_grad():
        fake_scoring(real.policy, config)
    with PeakBytes() as update:
        real.update(Clock())
    assert predicted["rollout"] == pytest.approx(rollout.peak, rel=0.15)
    assert predicted["scoring by the reference"] == pytest.approx(scoring.peak, rel=0.15)
    assert predicted["update"] == pytest.approx(update.peak, rel=0.15)


def test_the_always_there_is_counted_to_the_byte_and_recomputing_takes_less():
    weights = sum(4 * p.numel() for p in Qwen(SHAPE).parameters())
    parts = peaks(replace(CONFIG, micro_batch_tokens=1000), SHAPE)
    assert (parts["weights"], parts["AdamW"], parts["reference"]) == (weights, 2 * weights, weights)
    other = peaks(replace(CONFIG, micro_batch_tokens=1000, reference_on_cpu=True, recompute=True), SHAPE)
    assert other["reference"] == 0
    assert other["scoring by the reference"] == parts["scoring by the reference"] + weights
    assert other["update"] < 0.8 * parts["update"]


def test_a_preset_says_which_gpus_it_fits(capsys):
    assert main(["memory", "--preset", "qwen2.5-0.5b", "--k", "8", "--max-new-tokens", "64"]) == 0
    assert "fits a GPU of 24 GB" in capsys.readouterr().out
    assert "lower --micro-batch-tokens" in report(dict(weights=10**9, AdamW=2, reference=1, rollout=10**12, update=1))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_out_of_memory_names_the_flags_to_lower(error, monkeypatch, capsys):
    def fail(config):
        raise error
    monkeypatch.setattr("t1mini.rl.run", fail)
    assert main(["rl"]) == 2
    printed = capsys.readouterr().err
    assert "is out of memory: lower --micro-batch-tokens or --max-batch-tokens" in printed and printed.count("\n") == 1
