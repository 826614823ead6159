"""The decoder equals transformers' Qwen2, Qwen3 and Llama on golden checkpoints, and its parts equal their plain definitions."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from t1mini.runs.checkpoint import load_model
from t1mini.loss import token_entropy
from t1mini.model import Qwen, QwenConfig, RMSNorm, attend, rope, rope_angles
from t1mini.rollout import generate
from t1mini.sampler import Sampling

GOLDEN = Path(__file__).parent / "golden"
CHECKPOINTS = ("qwen2-tiny", "qwen3-tiny", "llama-tiny")


def golden(name: str):
    expected = json.loads((GOLDEN / name / "expected.json").read_text(encoding="utf-8"))
    return load_model(GOLDEN / name), expected["cases"], load_file(GOLDEN / name / "expected.safetensors")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits_and_entropies_are_those_of_transformers(name):
    model, cases, tensors = golden(name)
    for i, case in enumerate(cases):
        logits = model(torch.tensor([case["ids"]]))[0]
        torch.testing.assert_close(logits, tensors[f"logits_{i}"], atol=1e-4, rtol=0)
        torch.testing.assert_close(token_entropy(logits), tensors[f"entropy_{i}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_greedy_continuations_are_those_of_transformers(name):
    """All prompts in one padded batch, cached, two responses each."""
    model, cases, _ = golden(name)
    rollouts = generate(model, [case["ids"] for case in cases], 2, Sampling(0.0), max_new_tokens=24, seed=0)
    for i, case in enumerate(cases):
        assert rollouts.ids(2 * i) == rollouts.ids(2 * i + 1) == case["greedy_24"]


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (6, 2), (3, 1)])
def test_attention_written_out_is_torchs_kernel(heads, kv_heads):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, heads, 5, 8), torch.randn(2, kv_heads, 7, 8), torch.randn(2, kv_heads, 7, 8)
    mask = torch.rand(2, 1, 5, 7) < 0.6
    mask[..., 0] = True  # a query that may look nowhere has no answer
    fast = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(attend(q, k, v, mask), fast)


def test_rope_makes_scores_depend_on_distance_only():
    torch.manual_seed(0)
    q, k = torch.randn(1, 1, 1, 16, dtype=torch.float64), torch.randn(1, 1, 1, 16, dtype=torch.float64)
    turned = lambda x, position: rope(x, rope_angles(torch.tensor([[position]]), 16, 10_000.0, torch.float64))
    near, far = ((turned(q, p + 5) * turned(k, p)).sum() for p in (0, 1000))
    torch.testing.assert_close(near, far)
    assert not torch.isclose(near, (turned(q, 6) * turned(k, 0)).sum())


def test_rms_norm_squares_in_float32():
    norm, x = RMSNorm(512, 1e-6), torch.linspace(-3, 3, 512).bfloat16()
    expected = x.double() / x.double().square().mean().sqrt()
    torch.testing.assert_close(norm(x).double(), expected, atol=0, rtol=2**-8)


def test_padding_on_the_right_changes_nothing():
    model = Qwen(QwenConfig(50, 24, 40, 2, 3, 1, 8)).initialise(0).double()
    ids = torch.randint(0, 50, (2, 9))
    short = model(ids[:, :6])
    torch.testing.assert_close(model(ids)[:, :6], short, atol=1e-12, rtol=0)


def test_the_same_seed_gives_the_same_weights():
    config = QwenConfig(50, 24, 40, 2, 3, 1, 8, qk_norm=True, qkv_bias=False, tie_word_embeddings=False)
    one, same, other = (Qwen(config).initialise(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])
