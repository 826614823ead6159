"""Checkpoints: weights on disk in the Hugging Face layout, so that they come from and go to other programs.

    config.json                      the decoder's shape
    model.safetensors                its weights, or several files and model.safetensors.index.json saying which holds what
    tokenizer.json, tokenizer_config.json ...  (t1mini.tokenizer)
    generation_config.json           the tokens that end a response, for transformers and vLLM

safetensors holds numbers and names only: nothing in it can run, unlike a pickle. A tensor that is missing, extra or of the
wrong shape is an error that names it; nothing is filled in silently.

See both golden checkpoints load: python -m pytest tests/test_checkpoint.py
"""

import json
import math
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from t1mini.config import UserError
from t1mini.model import Qwen, QwenConfig
from t1mini.tokenizer import Tokenizer

SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
LARGEST_SIZE, MOST_LAYERS = 2**24, 4096
SHARD_BYTES = 5 * 10**9  # weights beyond this are divided over several files
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def load_model(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Qwen:
    """The checkpoint in `folder` as a Qwen. UserError names the file, field or tensor that is wrong."""
    folder = Path(folder)
    config = read_config(folder / "config.json")
    try:
        with torch.device("meta"):  # shapes only, so that a wrong file is found before memory is taken
            model = Qwen(config)
    except RuntimeError:
        raise UserError(f"{folder / 'config.json'}: sizes too large for any memory") from None
    weights = {name.removeprefix("model."): tensor for name, tensor in _read_weights(folder).items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)  # some files repeat the embedding under this name
    expected = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights or name not in expected:
            raise UserError(f"{folder}: tensor {name} is {'missing' if name in expected else 'not one of this model'}")
        if tuple(weights[name].shape) != expected[name]:
            shape = tuple(weights[name].shape)
            raise UserError(f"{folder}: tensor {name} has shape {shape}, config.json makes it {expected[name]}")
        if not weights[name].is_floating_point() or not weights[name].isfinite().all():
            raise UserError(f"{folder}: tensor {name} holds what is not a finite floating-point number")
    model.load_state_dict({name: tensor.to(device, dtype) for name, tensor in weights.items()}, assign=True)
    return model.requires_grad_(True)


def save_model(model: Qwen, folder: str | Path, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes config.json and the weights, as they are or as `dtype`. They appear under their names only when complete."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = dtype or model.dtype
    hf_name = lambda name: name if name == "lm_head.weight" else "model." + name
    sizes = {name: p.numel() * dtype.itemsize for name, p in model.named_parameters()}
    shards = divide(sizes, shard_bytes)
    names = [WEIGHTS] if len(shards) == 1 else [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    parameters = dict(model.named_parameters())
    for name, shard in zip(names, shards):
        weights = {hf_name(p): parameters[p].detach().to("cpu", dtype).contiguous() for p in shard}
        save_file(weights, folder / (name + ".part"), metadata={"format": "pt"})
    for name in names:
        os.replace(folder / (name + ".part"), folder / name)
    (folder / INDEX).unlink(missing_ok=True)
    if len(shards) > 1:
        weight_map = {hf_name(p): name for name, shard in zip(names, shards) for p in shard}
        _write_json(folder / INDEX, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})
    _write_json(folder / "config.json", hf_config(model, dtype))


def divide(sizes: dict[str, int], most: int) -> list[list[str]]:
    """Names in their order, in parts of at most `most` bytes (or of one name).

    >>> divide({"a": 3, "b": 4, "c": 5}, most=8)
    [['a', 'b'], ['c']]
    """
    parts, filled = [[]], 0
    for name, size in sizes.items():
        if parts[-1] and filled + size > most:
            parts, filled = [*parts, []], 0
        parts[-1].append(name)
        filled += size
    return parts


def load_policy(folder: str | Path, device: str = "cpu") -> tuple[Qwen, Tokenizer]:
    """Model and tokenizer of a folder, checked to belong together."""
    if not folder or not os.path.isdir(folder):
        raise UserError(f"there is no checkpoint folder {folder}; it should hold config.json, model.safetensors and tokenizer.json"
                        if folder else "--init: which checkpoint folder?")
    tokenizer = Tokenizer.from_dir(folder)
    model = load_model(folder, device)
    if tokenizer.size > model.config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has {tokenizer.size} ids, the model only {model.config.vocab_size}")
    return model, tokenizer


def save_policy(model: Qwen, tokenizer: Tokenizer, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """A folder that t1mini, transformers and vLLM can load."""
    save_model(model, folder, dtype)
    tokenizer.save(folder)
    _write_json(Path(folder) / "generation_config.json", {"do_sample": True, "eos_token_id": tokenizer.end_ids, "pad_token_id": tokenizer.pad_id})


def read_config(path: Path) -> QwenConfig:
    """A Hugging Face config.json of a Qwen2 or Qwen3 model, in the style of any transformers version."""
    raw = _read_json(path)
    try:
        return parse_config(path, raw)
    except (TypeError, ValueError, AttributeError) as error:  # a field of another type than it should have
        raise UserError(f"{path}: {error}") from None


def parse_config(path: Path, raw: dict) -> QwenConfig:
    """`raw` as a QwenConfig; `path` is named in errors."""
    kind = raw.get("model_type")
    if kind not in ("qwen2", "qwen3"):
        raise UserError(f"{path}: model_type is {kind!r}; t1mini reads qwen2 and qwen3")
    for name in SIZES:
        _positive(path, name, raw.get(name), MOST_LAYERS if name == "num_hidden_layers" else LARGEST_SIZE)
    for name in ("tie_word_embeddings", "attention_bias"):
        if not isinstance(raw.get(name, False), bool):
            raise UserError(f"{path}: {name} is {raw[name]!r}; it must be true or false")
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
    sliding = raw.get("use_sliding_window") or "sliding_attention" in (raw.get("layer_types") or ())
    if rope.get("rope_type", rope.get("type", "default")) != "default" or sliding or raw.get("hidden_act", "silu") != "silu":
        raise UserError(f"{path}: scaled RoPE, sliding windows and activations other than silu are not supported")
    return QwenConfig(
        **{name: raw[name] for name in SIZES}, num_key_value_heads=kv_heads, head_dim=head_dim,
        qkv_bias=raw.get("attention_bias", kind == "qwen2"), qk_norm=kind == "qwen3",
        tie_word_embeddings=raw.get("tie_word_embeddings", False),
        rope_theta=_positive_float(path, "rope_theta", rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
        rms_norm_eps=_positive_float(path, "rms_norm_eps", raw.get("rms_norm_eps", 1e-6)),
        max_position_embeddings=raw.get("max_position_embeddings", 32768),
        initializer_range=raw.get("initializer_range", 0.02))


def hf_config(model: Qwen, dtype: torch.dtype) -> dict:
    """config.json as transformers reads it."""
    c, kind = model.config, "qwen3" if model.config.qk_norm else "qwen2"
    return {
        "architectures": [kind.capitalize() + "ForCausalLM"], "model_type": kind, **{name: getattr(c, name) for name in SIZES},
        "num_key_value_heads": c.num_key_value_heads, "head_dim": c.head_dim, "attention_bias": c.qkv_bias, "hidden_act": "silu",
        "max_position_embeddings": c.max_position_embeddings, "rms_norm_eps": c.rms_norm_eps, "rope_theta": c.rope_theta,
        "tie_word_embeddings": c.tie_word_embeddings, "initializer_range": c.initializer_range, "use_cache": True,
        "torch_dtype": str(dtype).removeprefix("torch.")}


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    if (folder / INDEX).exists():
        weight_map = _read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"{folder / INDEX}: no weight_map")
        if any(not isinstance(name, str) or Path(name).name != name for name in weight_map.values()):
            raise UserError(f"{folder / INDEX}: weight_map must name files of this folder")
        files = sorted(set(weight_map.values()))
    else:
        files = [WEIGHTS]
    weights = {}
    for name in files:
        try:
            weights.update(load_file(folder / name))
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot read weights from {folder / name}: {error}") from None
    return weights


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _positive(path: Path, name: str, value, most: int = LARGEST_SIZE) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise UserError(f"{path}: {name} is {value!r}; it must be a positive whole number, at most {most}")
    return value


def _positive_float(path: Path, name: str, value) -> float:
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise UserError(f"{path}: {name} is {value!r}; it must be a positive number")
    return float(value)
