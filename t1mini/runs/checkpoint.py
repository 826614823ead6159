"""Checkpoints: weights on disk in the Hugging Face layout, so that they come from and go to other programs.

    config.json                      the decoder's shape  (t1mini.runs.model_config)
    model.safetensors                its weights, or several files and model.safetensors.index.json saying which holds what  (t1mini.runs.weights)
    tokenizer.json, tokenizer_config.json ...  (t1mini.runs.tokenizer)
    generation_config.json           the tokens that end a response, for transformers and vLLM

safetensors holds numbers and names only: nothing in it can run, unlike a pickle. A tensor that is missing, extra or of the
wrong shape is an error that names it; nothing is filled in silently.

See both golden checkpoints load: python -m pytest tests/test_checkpoint.py
"""

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from t1mini.runs.settings import UserError
from t1mini.runs.folder import replace, require_whole, whole_folder, write_text
from t1mini.model import Qwen
from t1mini.runs.model_config import hf_config, parameter_shapes, read_config
from t1mini.runs.tokenizer import Tokenizer
from t1mini.runs.weights import INDEX, WEIGHTS, read_weights

SHARD_BYTES = 5 * 10**9  # weights beyond this are divided over several files


def load_model(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Qwen:
    """The checkpoint in `folder` as a Qwen. UserError names the file, field or tensor that is wrong."""
    folder = Path(folder)
    config = read_config(folder / "config.json")
    weights = read_weights(folder, parameter_shapes(config), device, dtype)
    with torch.device("meta"):  # its weights are there already
        model = Qwen(config)
    model.load_state_dict(weights, assign=True)
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
        replace(folder / (name + ".part"), folder / name)
    (folder / INDEX).unlink(missing_ok=True)
    if len(shards) > 1:
        weight_map = {hf_name(p): name for name, shard in zip(names, shards) for p in shard}
        write_text(folder / INDEX, json.dumps({"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map}, indent=1))
    write_text(folder / "config.json", json.dumps(hf_config(model, dtype), indent=1))


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
    require_whole(Path(folder))
    tokenizer = Tokenizer.from_dir(folder)
    model = load_model(folder, device)
    if tokenizer.size > model.config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has {tokenizer.size} ids, the model only {model.config.vocab_size}")
    return model, tokenizer


def save_policy(model: Qwen, tokenizer: Tokenizer, folder: str | Path, dtype: torch.dtype | None = None) -> None:
    """A folder that t1mini, transformers and vLLM can load; it appears when all of it is on the disk."""
    with whole_folder(Path(folder)) as part:
        save_model(model, part, dtype)
        tokenizer.save(part)
        end = {"do_sample": True, "eos_token_id": tokenizer.end_ids, "pad_token_id": tokenizer.pad_id}
        write_text(part / "generation_config.json", json.dumps(end, indent=1))
