"""What memory predicts is what the real step allocates."""

import dataclasses

import pytest
import torch

from t1mini.__main__ import main
from t1mini.runs.machine import compute_precision
from t1mini.lab.memory import MemoryConfig, PeakBytes, peaks
from t1mini.model import Qwen, QwenConfig
from t1mini.rollout import generate
from t1mini.update import accumulate_gradients, score_rollouts

SHAPE = QwenConfig(3000, 64, 176, 3, 4, 2, 16)
CONFIG = MemoryConfig(prompts=4, k=8, prompt_tokens=20, max_new_tokens=80, micro_batch_tokens=900, max_batch_tokens=10_000, temperature=1.2)


@pytest.mark.parametrize("changes", [{}, {"recompute": True}, {"precision": "bfloat16"}, {"micro_batch_tokens": 3000}],
                         ids=["plain", "recompute", "bfloat16", "wide"])
def test_the_prediction_is_within_15_percent_of_a_real_step(changes):
    config = dataclasses.replace(CONFIG, **changes)
    predicted = peaks(config, SHAPE)
    policy = Qwen(SHAPE).initialise(0)
    policy.recompute = config.recompute
    prompts = [[1] * config.prompt_tokens] * config.prompts
    with PeakBytes() as rollout:
        with compute_precision(config):
            rollouts = generate(policy, prompts, config.k, max_new_tokens=config.max_new_tokens, temperature=config.temperature, seed=0,
                                max_batch_tokens=config.max_batch_tokens)
    with PeakBytes() as scoring:
        score_rollouts(policy, prompts, rollouts, config, SHAPE.vocab_size)
    with PeakBytes() as update:
        accumulate_gradients(policy, prompts, rollouts, torch.ones(len(rollouts.lengths)), rollouts.lengths.sum(), config, SHAPE.vocab_size)
    assert predicted["rollout"] == pytest.approx(rollout.peak, rel=0.15)
    assert predicted["scoring by the reference"] == pytest.approx(scoring.peak, rel=0.15)
    assert predicted["update"] == pytest.approx(update.peak, rel=0.15)


def test_weights_are_counted_to_the_byte():
    weights = sum(4 * p.numel() for p in Qwen(SHAPE).parameters())
    parts = peaks(CONFIG, SHAPE)
    assert (parts["weights"], parts["AdamW"], parts["reference"]) == (weights, 2 * weights, weights)
    away = peaks(dataclasses.replace(CONFIG, reference_on_cpu=True), SHAPE)
    assert away["reference"] == 0 and away["scoring by the reference"] == parts["scoring by the reference"] + weights


def test_recompute_takes_less():
    plain, recompute = (peaks(dataclasses.replace(CONFIG, recompute=r, micro_batch_tokens=3000), SHAPE)["update"] for r in (False, True))
    assert recompute < 0.8 * plain


def test_a_preset_says_which_gpus_it_fits(capsys):
    assert main(["memory", "--preset", "qwen2.5-0.5b", "--k", "64", "--max-new-tokens", "1024"]) == 0
    assert "fits a GPU of 24 GB" in capsys.readouterr().out
    assert main(["memory", "--preset", "qwen2.5-0.5b", "--max-batch-tokens", "16000000", "--prompts", "256"]) == 0
    assert "lower --micro-batch-tokens" in capsys.readouterr().out


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")], ids=["GPU", "CPU"])
def test_out_of_memory_names_the_flags_to_lower(error, monkeypatch, capsys):
    def fail(config):
        raise error
    monkeypatch.setattr("t1mini.rl.run", fail)
    assert main(["rl"]) == 2
    printed = capsys.readouterr().err
    assert "is out of memory: lower --micro-batch-tokens or --max-batch-tokens" in printed and printed.count("\n") == 1
