"""What memory predicts is what the real step allocates."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

from t1mini.__main__ import main
from t1mini.lab.bench import Bench, BenchConfig
from t1mini.lab.memory import SHAPES, MemoryConfig, PeakBytes, fake_scoring, peaks, report
from t1mini.model import Qwen, QwenConfig

SHAPE = QwenConfig(2000, 64, 176, 3, 4, 2, 16)
WORK = dict(prompts=2, k=8, max_new_tokens=40, micro_batch_tokens=1000, max_batch_tokens=10_000, min_p=0.0)
CONFIG = MemoryConfig(**WORK, prompt_tokens=20)


@pytest.mark.parametrize("recompute, precision", [(False, "float32"), (True, "bfloat16")])
def test_the_prediction_is_within_15_percent_of_a_real_step(recompute, precision, monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", SHAPE)
    monkeypatch.setattr(BenchConfig, "recompute", recompute, raising=False)
    config = replace(CONFIG, recompute=recompute, precision=precision)
    predicted = peaks(config, SHAPE)
    real = Bench("step", BenchConfig(**WORK, prompt_len=20, dtype=precision))
    real.step()  # AdamW's moments come with the first
    parts = {"rollout": real.rollout, "update": real.update,
             "scoring by the reference": torch.no_grad()(lambda: fake_scoring(real.policy, config))}
    for name, work in parts.items():
        with PeakBytes() as found:
            work()
        assert predicted[name] == pytest.approx(found.peak, rel=0.15)


def test_what_is_always_there_is_counted_to_the_byte_and_recomputing_takes_less():
    weights = sum(4 * p.numel() for p in Qwen(SHAPE).parameters())
    parts, other = (peaks(replace(CONFIG, reference_on_cpu=x, recompute=x), SHAPE) for x in (False, True))
    assert (parts["weights"], parts["AdamW"], parts["reference"]) == (weights, 2 * weights, weights)
    assert other["reference"] == 0
    assert other["scoring by the reference"] == parts["scoring by the reference"] + weights
    assert other["update"] < 0.8 * parts["update"]


def test_sft_takes_no_reference_and_no_rollout(capsys):
    parts = peaks(replace(CONFIG, stage="sft"), SHAPE)
    assert list(parts) == ["weights", "AdamW", "update", "peak"]
    assert parts["update"] == peaks(CONFIG, SHAPE)["update"] and parts["peak"] == sum(parts.values()) - parts["peak"]
    assert main("memory --stage sft --threads 1".split()) == 0
    assert "+  update" in capsys.readouterr().out


def test_a_preset_says_which_gpus_it_fits(capsys):
    assert main("memory --preset qwen2.5-0.5b --k 8 --micro-batch-tokens 512 --threads 1".split()) == 0
    assert "fits a GPU of 24 GB" in capsys.readouterr().out
    assert "lower --micro-batch-tokens" in report({"peak": 10**12})


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: 9")])
def test_out_of_memory_names_the_flags_to_lower(error, monkeypatch, capsys):
    monkeypatch.setattr("t1mini.rl.run", Mock(side_effect=error))
    assert main(["rl", "--threads", "1"]) == 2
    message = capsys.readouterr().err
    assert "out of memory: lower --micro-batch-tokens, --max-batch-tokens" in message
    assert message.count("\n") == 1
