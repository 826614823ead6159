"""Tiny random decoders in both styles, shared by the tests that need a model: no size equals another, no bias is 0, no norm weight is 1."""

import pytest
import torch

from t1mini.model import Qwen, QwenConfig

SHAPES = {
    "qwen2": QwenConfig(vocab_size=37, hidden_size=24, intermediate_size=44, num_hidden_layers=2, num_attention_heads=6,
                        num_key_value_heads=3, head_dim=4, initializer_range=0.3),
    "qwen3": QwenConfig(vocab_size=41, hidden_size=20, intermediate_size=28, num_hidden_layers=3, num_attention_heads=4,
                        num_key_value_heads=2, head_dim=6, qkv_bias=False, qk_norm=True, tie_word_embeddings=False,
                        initializer_range=0.3),
}


def pytest_addoption(parser):
    parser.addoption("--fuzz", type=int, default=60, metavar="N", help="inputs to each reader in tests/runs/test_fuzz.py")
    parser.addoption("--whole", action="store_true", help="sweeps in full: every place to stop, every size of a disk")


def build(style: str) -> Qwen:
    model = Qwen(SHAPES[style]).initialise(seed=5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 1:  # initialise leaves these at 0 or 1, where a forgotten one would not show
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return model


@pytest.fixture(autouse=True)
def one_thread():
    """A command sets torch's threads for its process; with models this small, one is the fastest."""
    torch.set_num_threads(1)


@pytest.fixture(params=sorted(SHAPES))
def tiny_model(request) -> Qwen:
    """A Qwen2 (biases, tied) and then a Qwen3 (q/k norms, head_dim != hidden / heads, untied), float32."""
    return build(request.param)
