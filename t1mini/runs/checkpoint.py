"""Checkpoints: a model on disk in the Hugging Face layout, so that it comes from and goes to other programs.

    config.json             the decoder's shape
    model.safetensors       its weights; or several such files, listed in model.safetensors.index.json
    tokenizer.json ...      (t1mini.runs.tokenizer)
    generation_config.json  the tokens that end a response, for transformers and vLLM

A checkpoint from the net is not to be trusted. Nothing in these files can run, unlike in a pickle; but
they can be of any size and claim anything. So config.json is read as transformers reads it, each number in
its range; what the decoder does not do (scaled RoPE, sliding windows, other activations) is refused where
it has an effect, not ignored. A model of that shape is made without memory, and the headers of the weights
are compared with it: a tensor that is missing, extra, there twice, of another shape or of whole numbers is
an error that names it. Only then are numbers read; each must be finite.

Simplified: weights are read from one file or several, and written to one. A Qwen2 without biases is saved as
the Llama that it is: as a Qwen2, transformers would make up biases.

See each refused: python -m pytest tests/runs/test_checkpoint.py
"""

import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from reprlib import repr as shortened

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from t1mini.model import Qwen, QwenConfig
from t1mini.runs.folder import require_whole, whole_folder, write_json
from t1mini.runs.jsonl import excerpt, open_regular, read_object
from t1mini.runs.settings import UserError, is_within
from t1mini.runs.tokenizer import Tokenizer

LARGEST_HEADER = 2**24  # bytes; large models' have a hundredth
FAMILIES = {  # what only their config.json may leave out
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "llama": {"max_position_embeddings": 2048},
}
ROPE = {"rope_type": "default", "type": "default", "partial_rotary_factor": 1}  # what may be said of it
DEFAULTS = {  # of what any config.json may leave out
    "max_position_embeddings": 32768,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}
RANGES = {  # of its numbers; 1 to 1_048_576 where it is not here
    "num_hidden_layers": "1 to 256",
    "rope_theta": "1 to 1_000_000_000_000",
    "rms_norm_eps": "above 0, to 0.1",
    "initializer_range": "above 0, to 1",
    "tie_word_embeddings": "0 to 1",
    "qkv_bias": "0 to 1",
    "qk_norm": "0 to 1",
}


def load_policy(folder: str | Path, device: str = "cpu"):
    """Model and tokenizer of a folder, checked to belong together."""
    if not os.path.isdir(folder):
        raise UserError(f"there is no checkpoint folder {folder or 'given'}: --init takes one that holds "
                        "config.json, model.safetensors and tokenizer.json")
    if Path(folder, "manifest.json").exists():  # other programs write none
        require_whole(Path(folder))
    tokenizer, model = Tokenizer.from_dir(folder), load_model(folder, device)
    if tokenizer.size > (rows := model.config.vocab_size):
        raise UserError(f"{folder}: the tokenizer has {tokenizer.size} ids, the model only {rows}")
    return model, tokenizer


def save_policy(model: Qwen, tokenizer: Tokenizer, folder: str | Path, dtype=None):
    """A folder that t1mini, transformers and vLLM can load; it appears when all of it is on the disk."""
    with whole_folder(Path(folder)) as part:
        save_model(model, part, dtype)
        tokenizer.save(part)
        write_json(part / "generation_config.json", {
            "do_sample": True, "eos_token_id": tokenizer.end_ids, "pad_token_id": tokenizer.pad_id})


def load_model(folder: str | Path, device: str = "cpu", dtype=torch.float32):
    """The checkpoint in `folder` as a Qwen. UserError names the file, field or tensor that is wrong."""
    stored = stored_tensors(Path(folder))
    config = read_config(Path(folder, "config.json"), stored)
    with torch.device("meta"):  # shapes, without memory for numbers
        model = Qwen(config)
    ours = {(name, *p.shape) for name, p in model.named_parameters()}
    again = stored.pop("lm_head.weight", None) if config.tie_word_embeddings else None
    theirs = {(name, *tensor.get_shape()) for name, tensor in stored.items()}
    for name, *shape in sorted(ours ^ theirs):
        wrong = "missing" if (name, *shape) in ours else "not of the model in config.json"
        raise UserError(f"{folder}: tensor {excerpt(name)} of shape {excerpt(shape)} is {wrong}")
    weights = {name: tensor[:].to(device, dtype) for name, tensor in stored.items()}
    for name, values in weights.items():
        if not values.isfinite().all():
            raise UserError(f"{folder}: tensor {name} holds what is not a finite number")
    if again and not torch.equal(again[...].to(device, dtype), weights["embed_tokens.weight"]):
        raise UserError(f"{folder}: tensor lm_head.weight is not the embedding, as tie_word_embeddings "
                        "in config.json has it; set that to false")
    model.load_state_dict(weights, assign=True)
    return model


def save_model(model: Qwen, folder: str | Path, dtype=None):
    """Writes config.json and the weights, as they are or as `dtype`."""
    folder, dtype = Path(folder), dtype or model.dtype
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}".replace("model.lm_head", "lm_head"): p.to("cpu", dtype).contiguous()
               for name, p in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)  # of what the folder held before
    family = "Qwen3" if model.config.qk_norm else "Qwen2" if model.config.qkv_bias else "Llama"
    written = {"architectures": [family + "ForCausalLM"], "model_type": family.lower(), **vars(model.config),
               "hidden_act": "silu", "torch_dtype": f"{dtype}".removeprefix("torch."),
               "bos_token_id": None, "eos_token_id": None}  # else transformers takes a Llama's to be 1 and 2
    del written["qkv_bias"], written["qk_norm"]  # the family says it
    write_json(folder / "config.json", written)
    shutil.copymode(folder / "config.json", folder / "model.safetensors")  # save_file's is its owner's alone


def read_config(path: Path, stored=()):
    """A Hugging Face config.json, of any version of transformers. UserError names file and field.

    A Qwen2 has biases where they are `stored`, whatever `attention_bias` says: transformers ignores that.
    """
    stated = read_object(path)
    family = stated.get("model_type")
    if family not in [*FAMILIES]:
        raise UserError(f"{path}: model_type is {shortened(family)}; t1mini reads {', '.join(FAMILIES)}")
    raw = DEFAULTS | FAMILIES[family] | {name: value for name, value in stated.items() if value is not None}
    for name in ("rope_parameters", "rope_scaling"):
        rope = raw.get(name, {})
        if not isinstance(rope, dict) or dict in map(type, rope.values()) or rope | ROPE != ROPE | rope:
            raise UserError(f"{path}: {name} is {shortened(rope)}; t1mini knows only plain RoPE, one for all "
                            "layers")
        raw |= rope
    heads, bias = raw.get("num_attention_heads"), raw.get("attention_bias")
    biased = bias is not False or "layers.0.self_attn.q_proj.bias" in stored
    given = {"num_key_value_heads": heads, "head_dim": 2, **raw, "qk_norm": family == "qwen3",
             "qkv_bias": family == "qwen2" and biased}
    shape = {}
    for f in fields(QwenConfig):
        value, within = given.get(f.name), RANGES.get(f.name, "1 to 1_048_576")
        if type(value) not in (int, f.type) or not is_within(value, within):
            raise UserError(f"{path}: {f.name} is {shortened(value)}; it must be a number, {within}")
        shape[f.name] = value
    ours = {**ROPE, "hidden_act": "silu", "attention_bias": family == "qwen2" and bias, "mlp_bias": False,
            **windows(stated, shape)}
    for name, value in ours.items():
        if raw.get(name, value) != value:
            raise UserError(f"{path}: {name} is {shortened(raw[name])}; t1mini knows only {shortened(value)}")
    head_dim = raw.get("head_dim", shape["hidden_size"] / heads)
    if head_dim % 2 or heads % shape["num_key_value_heads"]:
        raise UserError(f"{path}: {heads} attention heads cannot share {shape['num_key_value_heads']}, "
                        f"or their size {head_dim:g} is not even")
    return QwenConfig(**shape | {"head_dim": int(head_dim)})


def windows(stated: dict, shape: dict):
    """What config.json may say of sliding windows: none, or such as hide no position from any layer."""
    kinds, full = stated.get("layer_types"), ["full_attention"] * shape["num_hidden_layers"]
    slides, size = stated.get("use_sliding_window") is True, stated.get("sliding_window", 4096)
    reaches = lambda x, end: type(x) is int and x >= end
    wide = slides and reaches(size, shape["max_position_embeddings"])
    none = size is None or kinds == full or reaches(stated.get("max_window_layers", 28), len(full))
    return {"layer_types": kinds if wide else full, "use_sliding_window": slides and (wide or none)}


def stored_tensors(folder: Path):
    """Every tensor of a checkpoint by its name in the model, as a slice of its file; nothing is read yet."""
    names, index, stored = ["model.safetensors"], folder / "model.safetensors.index.json", {}
    if index.exists():
        weight_map = read_object(index).get("weight_map")
        names = sorted({*map(str, weight_map.values())}) if isinstance(weight_map, dict) else [""]
    for file_name in names:
        if not re.fullmatch(r"\w[\w.-]*\.safetensors", file_name):
            raise UserError(f"{index}: weight_map must name files of this folder")
        path = folder / file_name
        with open_regular(path, f"weights from {path}; copy or download it again") as file:
            if int.from_bytes(file.read(8), "little") > LARGEST_HEADER:
                raise ValueError(f"its header is larger than {LARGEST_HEADER >> 20} MiB")
            weights = safe_open(path, framework="pt")
        for full_name in weights.keys():
            if full_name.endswith("rotary_emb.inv_freq"):  # old Llamas': it follows from rope_theta
                continue
            name, tensor = full_name.removeprefix("model."), weights.get_slice(full_name)
            if name in stored or tensor.get_dtype() not in ("F16", "BF16", "F32", "F64"):
                raise UserError(f"{path}: tensor {excerpt(name)} is there twice, or holds "
                                f"no floating-point numbers but {tensor.get_dtype()}")
            stored[name] = tensor
    return stored
