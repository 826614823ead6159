"""The shape of a model on disk: config.json as Hugging Face writes it, and the QwenConfig it stands for.

Every number is checked where it is read: sizes are positive and together at most LARGEST_MODEL parameters, head counts divide,
and what the decoder does not do (scaled RoPE, sliding windows, other activations) is refused, not ignored.

See each refused: python -m pytest tests/test_checkpoint.py
"""

import dataclasses
import math
import reprlib
from pathlib import Path

import torch

from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import read_object
from t1mini.model import Qwen, QwenConfig

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
LARGEST_SIZE, MOST_LAYERS, LARGEST_MODEL = 2**24, 4096, 10**11  # the last one in parameters
LARGEST_JSON = 2**24  # bytes of config.json, and of other files that describe a checkpoint


def read_config(path: Path) -> QwenConfig:
    """A Hugging Face config.json of a Qwen2 or Qwen3 model, in the style of any transformers version. UserError names file and field."""
    config = parse_config(path, read_object(path, LARGEST_JSON))
    try:
        parameters = sum(map(math.prod, parameter_shapes(config).values()))
    except RuntimeError:  # a tensor of more bytes than 64 bits can count
        parameters = math.inf
    if parameters > LARGEST_MODEL:
        raise UserError(f"{path}: sizes too large: {parameters:.1e} parameters, where t1mini reads up to {LARGEST_MODEL:.0e}")
    return config


def parameter_shapes(config: QwenConfig) -> dict[str, tuple[int, ...]]:
    """Every parameter's shape by name. One layer is built, without memory, and stands for all: thousands would take seconds."""
    with torch.device("meta"):
        model = Qwen(dataclasses.replace(config, num_hidden_layers=1))
    shapes = {}
    for name, p in model.named_parameters():
        for i in range(config.num_hidden_layers if name.startswith("layers.0.") else 1):
            shapes[name.replace("layers.0.", f"layers.{i}.")] = tuple(p.shape)
    return shapes


def parse_config(path: Path, raw: dict) -> QwenConfig:
    """`raw` as a QwenConfig; `path` is named in errors."""
    kind = raw.get("model_type")
    if kind not in ("qwen2", "qwen3"):
        raise UserError(f"{path}: model_type is {reprlib.repr(kind)}; t1mini reads qwen2 and qwen3")
    for name in SIZES:
        _positive(path, name, raw.get(name), MOST_LAYERS if name == "num_hidden_layers" else LARGEST_SIZE)
    for name in ("tie_word_embeddings", "attention_bias"):
        if not isinstance(raw.get(name, False), bool):
            raise UserError(f"{path}: {name} is {reprlib.repr(raw[name])}; it must be true or false")
    heads, hidden = raw["num_attention_heads"], raw["hidden_size"]
    kv_heads = _positive(path, "num_key_value_heads", raw.get("num_key_value_heads", heads))
    head_dim = _positive(path, "head_dim", raw.get("head_dim") or hidden // heads)
    if heads % kv_heads:
        raise UserError(f"{path}: {heads} attention heads cannot share {kv_heads} key/value heads")
    if head_dim % 2 or (not raw.get("head_dim") and hidden % heads):
        raise UserError(f"{path}: hidden_size {hidden} over {heads} heads gives no even head_dim")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise UserError(f"{path}: rope_parameters or rope_scaling is no object")
    layer_types = raw.get("layer_types") or []
    if not isinstance(layer_types, list):
        raise UserError(f"{path}: layer_types is no list")
    sliding = raw.get("use_sliding_window") or "sliding_attention" in layer_types
    if rope.get("rope_type", rope.get("type", "default")) != "default" or sliding or raw.get("hidden_act", "silu") != "silu":
        raise UserError(f"{path}: scaled RoPE, sliding windows and activations other than silu are not supported")
    return QwenConfig(
        **{name: raw[name] for name in SIZES}, num_key_value_heads=kv_heads, head_dim=head_dim,
        qkv_bias=raw.get("attention_bias", kind == "qwen2"), qk_norm=kind == "qwen3",
        tie_word_embeddings=raw.get("tie_word_embeddings", False),
        rope_theta=_number(path, "rope_theta", rope.get("rope_theta", raw.get("rope_theta", 10_000.0)), 1, 1e12),
        rms_norm_eps=_number(path, "rms_norm_eps", raw.get("rms_norm_eps", 1e-6), 1e-15, 0.1),
        max_position_embeddings=_positive(path, "max_position_embeddings", raw.get("max_position_embeddings", 32768)),
        initializer_range=_number(path, "initializer_range", raw.get("initializer_range", 0.02), 1e-6, 1))


def hf_config(model: Qwen, dtype: torch.dtype) -> dict:
    """config.json as transformers reads it."""
    c, kind = model.config, "qwen3" if model.config.qk_norm else "qwen2"
    return {
        "architectures": [kind.capitalize() + "ForCausalLM"], "model_type": kind, **{name: getattr(c, name) for name in SIZES},
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim, "attention_bias": c.qkv_bias, "hidden_act": "silu",
        "max_position_embeddings": c.max_position_embeddings, "rms_norm_eps": c.rms_norm_eps, "rope_theta": c.rope_theta,
        "tie_word_embeddings": c.tie_word_embeddings, "initializer_range": c.initializer_range, "use_cache": True,
        "torch_dtype": str(dtype).removeprefix("torch.")}


def _positive(path: Path, name: str, value, most: int = LARGEST_SIZE) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise UserError(f"{path}: {name} is {reprlib.repr(value)}; it must be a positive whole number, at most {most}")
    return value


def _number(path: Path, name: str, value, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most:
        raise UserError(f"{path}: {name} is {reprlib.repr(value)}; it must be a number from {least} to {most}")
    return float(value)
