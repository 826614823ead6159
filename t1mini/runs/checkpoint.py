"""Checkpoints: a model on disk in the Hugging Face layout, so that it comes from and goes to other programs.

    config.json             the decoder's shape
    model.safetensors       its weights; or several such files, listed in model.safetensors.index.json
    tokenizer.json ...      (t1mini.runs.tokenizer)
    generation_config.json  the tokens that end a response, for transformers and vLLM

A checkpoint from the net is not to be trusted. Nothing in these files can run, unlike in a pickle; but
they can be of any size and claim anything. So config.json is read first, each number in its range; what
the decoder does not do (scaled RoPE, sliding windows, other activations) is refused, not ignored. A
model of that shape is made without memory, and the header of every weights file is compared with it: a
tensor that is missing, extra, there twice, of another shape or of whole numbers is an error that names
it. Only then are numbers read; each must be finite.

Simplified: weights are read from one file or several, and written to one.

See each refused: python -m pytest tests/runs/test_checkpoint.py
"""

import dataclasses
import json
import os
import re
from pathlib import Path
from reprlib import repr as shortened

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from t1mini.model import Qwen, QwenConfig
from t1mini.runs.folder import MANIFEST, replace, require_whole, whole_folder, write_text
from t1mini.runs.jsonl import excerpt, open_regular, read_object, reason
from t1mini.runs.settings import UserError
from t1mini.runs.tokenizer import Tokenizer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F16", "BF16", "F32", "F64")
LARGEST_JSON = 2**24  # bytes of config.json, an index or a header; large models' have a hundredth
LARGEST_SIZE = 2**20  # of these numbers in config.json:
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
         "max_position_embeddings")
RANGES = {  # of the others
    "num_hidden_layers": (1, 256),
    "rope_theta": (1.0, 1e12),
    "rms_norm_eps": (1e-15, 0.1),
    "initializer_range": (1e-6, 1.0),
    "tie_word_embeddings": (False, True),
    "attention_bias": (False, True),
}
DEFAULTS = {  # of what it may leave out
    "max_position_embeddings": 32768,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
    "tie_word_embeddings": False,
}


def load_policy(folder: str | Path, device: str = "cpu") -> tuple[Qwen, Tokenizer]:
    """Model and tokenizer of a folder, checked to belong together."""
    if not folder:
        raise UserError("--init: which checkpoint folder?")
    if not os.path.isdir(folder):
        files = "config.json, model.safetensors and tokenizer.json"
        raise UserError(f"there is no checkpoint folder {folder}; it should hold {files}")
    if Path(folder, MANIFEST).exists():  # other programs write none
        require_whole(Path(folder))
    tokenizer = Tokenizer.from_dir(folder)
    model = load_model(folder, device)
    if tokenizer.size > model.config.vocab_size:
        rows = model.config.vocab_size
        raise UserError(f"{folder}: the tokenizer has {tokenizer.size} ids, the model only {rows}")
    return model, tokenizer


def save_policy(model: Qwen, tokenizer: Tokenizer, folder: str | Path, dtype: torch.dtype | None = None):
    """A folder that t1mini, transformers and vLLM can load; it appears when all of it is on the disk."""
    with whole_folder(Path(folder)) as part:
        save_model(model, part, dtype)
        tokenizer.save(part)
        end = {"do_sample": True, "eos_token_id": tokenizer.end_ids, "pad_token_id": tokenizer.pad_id}
        write_text(part / "generation_config.json", json.dumps(end, indent=1))


def load_model(folder: str | Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Qwen:
    """The checkpoint in `folder` as a Qwen. UserError names the file, field or tensor that is wrong."""
    folder = Path(folder)
    config = read_config(folder / "config.json")
    with torch.device("meta"):  # shapes, without memory for numbers
        model = Qwen(config)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    stored = stored_tensors(folder)
    if config.tie_word_embeddings:
        stored.pop("lm_head.weight", None)  # the embedding: some files repeat it under this name
    for name in sorted(shapes.keys() | stored.keys()):
        check_header(f"{folder}: tensor {excerpt(name)}", shapes.get(name), stored.get(name))
    weights = {name: read_tensor(f"{folder}: tensor {name}", stored[name], device, dtype) for name in shapes}
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(True)


def save_model(model: Qwen, folder: str | Path, dtype: torch.dtype | None = None):
    """Writes config.json and the weights, as they are or as `dtype`; they get their name when complete."""
    folder, dtype = Path(folder), dtype or model.dtype
    folder.mkdir(parents=True, exist_ok=True)
    weights = {}
    for name, p in model.named_parameters():
        prefix = "" if name.startswith("lm_head") else "model."
        weights[prefix + name] = p.detach().to("cpu", dtype).contiguous()
    part = folder / (WEIGHTS + ".part")
    save_file(weights, part, metadata={"format": "pt"})
    replace(part, folder / WEIGHTS)
    (folder / INDEX).unlink(missing_ok=True)  # of what the folder held before
    write_text(folder / "config.json", json.dumps(hf_config(model.config, dtype), indent=1))


# --- config.json ------------------------------------------------------------------------------------------


def read_config(path: Path) -> QwenConfig:
    """A Hugging Face config.json, of any version of transformers. UserError names file and field."""
    raw = {name: value for name, value in read_object(path, LARGEST_JSON).items() if value is not None}
    kind = raw.get("model_type")
    if kind not in ("qwen2", "qwen3"):
        raise UserError(f"{path}: model_type is {shortened(kind)}; t1mini reads qwen2 and qwen3")
    heads = raw.get("num_attention_heads")
    given = {**DEFAULTS, "attention_bias": kind == "qwen2", "num_key_value_heads": heads}
    given |= raw | read_rope(path, raw)
    fields = {name: read_field(path, name, given.get(name), 1, LARGEST_SIZE) for name in SIZES}
    fields |= {name: read_field(path, name, given.get(name), *limits) for name, limits in RANGES.items()}
    hidden, bias = fields["hidden_size"], fields.pop("attention_bias")
    head_dim = read_field(path, "head_dim", raw.get("head_dim", hidden // heads), 1, LARGEST_SIZE)
    kv_heads = fields["num_key_value_heads"]
    if heads % kv_heads:
        raise UserError(f"{path}: {heads} attention heads cannot share {kv_heads} key/value heads")
    if head_dim % 2 or ("head_dim" not in raw and hidden % heads):
        raise UserError(f"{path}: hidden_size {hidden} over {heads} heads gives no even head_dim")
    return QwenConfig(**fields, head_dim=head_dim, qkv_bias=bias, qk_norm=kind == "qwen3")


def read_rope(path: Path, raw: dict) -> dict:
    """What is said of rotary positions. UserError where positions, windows or activations are not ours."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    try:
        scaled = rope.get("rope_type", rope.get("type", "default")) != "default"
        sliding = raw.get("use_sliding_window") or "sliding_attention" in raw.get("layer_types", ())
    except (AttributeError, TypeError):
        raise UserError(f"{path}: rope_parameters, rope_scaling or layer_types is of another form") from None
    if scaled or sliding or raw.get("hidden_act", "silu") != "silu":
        what = "scaled RoPE, sliding windows and activations other than silu"
        raise UserError(f"{path}: {what} are not supported")
    return {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}


def read_field(path: Path, name: str, value, least, most):
    """`value`, of the type of its limits. UserError where it is not."""
    kind = type(least)
    if type(value) not in ((int, float) if kind is float else (kind,)) or not least <= value <= most:
        number = f"a {'whole ' if kind is int else ''}number from {least} to {most}"
        wanted = "true or false" if kind is bool else number
        raise UserError(f"{path}: {name} is {shortened(value)}; it must be {wanted}")
    return kind(value)


def hf_config(config: QwenConfig, dtype: torch.dtype) -> dict:
    """config.json as transformers reads it."""
    fields = dataclasses.asdict(config)
    kind = "qwen3" if fields.pop("qk_norm") else "qwen2"
    return {
        "architectures": [kind.capitalize() + "ForCausalLM"],
        "model_type": kind,
        "attention_bias": fields.pop("qkv_bias"),
        **fields,
        "hidden_act": "silu",
        "use_cache": True,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


# --- weights ----------------------------------------------------------------------------------------------


def stored_tensors(folder: Path) -> dict:
    """Every tensor of a checkpoint by its name in the model, as a slice of its file; nothing is read yet."""
    weight_map = read_index(folder)
    found = {}
    for file_name in sorted(set(weight_map.values())) or [WEIGHTS]:
        file = open_weights(folder / file_name)
        for full_name in file.keys():
            name = full_name.removeprefix("model.")
            if weight_map and weight_map.get(full_name) != file_name:
                wrong = f"tensor {excerpt(full_name)} is not listed for {file_name}"
                raise UserError(f"{folder}: {wrong}; see {INDEX}")
            if name in found:
                raise UserError(f"{folder}: tensor {excerpt(name)} is there twice")
            found[name] = file.get_slice(full_name)
    return found


def read_index(folder: Path) -> dict[str, str]:
    """Which file holds which tensor, where there are several; else nothing."""
    path = folder / INDEX
    if not path.exists():
        return {}
    weight_map = read_object(path, LARGEST_JSON).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{path}: no weight_map")
    for name in weight_map.values():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors", name):
            raise UserError(f"{path}: weight_map must name files of this folder, not {shortened(name)}")
    return weight_map


def open_weights(path: Path) -> safetensors.safe_open:
    """A safetensors file whose header is whole."""
    try:
        with open_regular(path) as file:
            if int.from_bytes(file.read(8), "little") > LARGEST_JSON:
                raise ValueError(f"its header is larger than {LARGEST_JSON >> 20} MiB")
        return safetensors.safe_open(path, framework="pt")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        text = f"cannot read weights from {path}: {reason(error)}; copy or download it again"
        raise UserError(text) from None


def check_header(tensor: str, shape: tuple[int, ...] | None, stored):
    """UserError unless a tensor is stored in the shape that the model gives it, as floating-point numbers."""
    if stored is None or shape is None:
        raise UserError(f"{tensor} is {'missing' if stored is None else 'not one of this model'}")
    found, kind = tuple(stored.get_shape()), stored.get_dtype()
    if found != shape:
        raise UserError(f"{tensor} has shape {excerpt(found)}, config.json makes it {shape}")
    if kind not in FLOATS:
        raise UserError(f"{tensor} holds what is not a finite floating-point number: {kind}")


def read_tensor(tensor: str, stored, device: str, dtype: torch.dtype) -> Tensor:
    values = stored[:].to(device, dtype)
    if not values.isfinite().all():
        raise UserError(f"{tensor} holds what is not a finite floating-point number")
    return values
