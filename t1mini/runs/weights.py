"""Weights on disk: safetensors files, read only once everything they say of themselves is what the model needs.

A file begins with a header: the name, type, shape and place of every tensor in it. All headers are read first and compared with
the shapes that config.json makes; a tensor that is missing, extra, there twice, of another shape or of whole numbers is an error
that names it. Numbers are read one tensor at a time after that, and each must be finite in the type it is converted to.

Nothing in such a file can run, unlike in a pickle; but it can be of any size and claim anything.

See each refused: python -m pytest tests/test_checkpoint.py
"""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import safetensors
import torch
from torch import Tensor

from t1mini.runs.settings import UserError
from t1mini.runs.jsonl import excerpt, open_regular, read_object, reason
from t1mini.runs.model_config import LARGEST_JSON

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F16", "BF16", "F32", "F64")
LONGEST_HEADER = 2**24  # bytes; those of the largest models have a hundredth of it
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")


class Stored(NamedTuple):
    """Where a tensor is: an open file, and its name in there."""

    file: safetensors.safe_open
    name: str


def read_weights(folder: Path, shapes: dict[str, tuple[int, ...]], device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors that `shapes` names, as `dtype` on `device`. UserError names the file or the tensor that is wrong."""
    with ExitStack() as stack:
        stored = find_tensors(folder, stack)
        if "lm_head.weight" not in shapes:
            stored.pop("lm_head.weight", None)  # the embedding: some files repeat it under this name
        for name in sorted(shapes.keys() | stored.keys()):
            check_header(folder, name, shapes.get(name), stored.get(name))
        return {name: _read_tensor(folder, name, stored[name], device, dtype) for name in shapes}


def find_tensors(folder: Path, stack: ExitStack) -> dict[str, Stored]:
    """Every tensor of a checkpoint by its name in the model. `stack` keeps its files open."""
    found: dict[str, Stored] = {}
    weight_map = read_index(folder)
    for file_name in sorted(set(weight_map.values())) or [WEIGHTS]:
        file = stack.enter_context(open_weights(folder / file_name))
        names = set(file.keys())
        if weight_map and names != (listed := {name for name, holder in weight_map.items() if holder == file_name}):
            name = min(names ^ listed)
            raise UserError(f"{folder}: tensor {excerpt(name)} is {'not listed for' if name in names else 'missing from'} {file_name}; see {INDEX}")
        for name in names:
            short = name.removeprefix("model.")
            if short in found:
                raise UserError(f"{folder}: tensor {excerpt(short)} is there twice")
            found[short] = Stored(file, name)
    return found


def read_index(folder: Path) -> dict[str, str]:
    """Which file holds which tensor, where there are several; else nothing."""
    path = folder / INDEX
    if not path.exists():
        return {}
    weight_map = read_object(path, LARGEST_JSON).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{path}: no weight_map")
    if not all(isinstance(name, str) and _FILE_NAME.fullmatch(name) for name in weight_map.values()):
        raise UserError(f"{path}: weight_map must name files of this folder, such as model-00001-of-00002.safetensors")
    return weight_map


def open_weights(path: Path) -> safetensors.safe_open:
    """A safetensors file whose header is whole."""
    try:
        with open_regular(path) as file:
            if int.from_bytes(file.read(8), "little") > LONGEST_HEADER:
                raise ValueError(f"its header is larger than {LONGEST_HEADER >> 20} MiB")
        return safetensors.safe_open(path, framework="pt")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"cannot read weights from {path}: {reason(error)}; copy or download it again") from None


def check_header(folder: Path, name: str, shape: tuple[int, ...] | None, stored: Stored | None) -> None:
    """UserError unless the tensor is stored in the shape that the model gives it, and in floating-point numbers."""
    if stored is None or shape is None:
        raise UserError(f"{folder}: tensor {excerpt(name)} is {'missing' if stored is None else 'not one of this model'}")
    header = stored.file.get_slice(stored.name)
    if tuple(header.get_shape()) != shape:
        raise UserError(f"{folder}: tensor {name} has shape {excerpt(tuple(header.get_shape()))}, config.json makes it {shape}")
    if header.get_dtype() not in FLOATS:
        raise UserError(f"{folder}: tensor {name} holds what is not a finite floating-point number: {header.get_dtype()}")


def _read_tensor(folder: Path, name: str, stored: Stored, device: str, dtype: torch.dtype) -> Tensor:
    tensor = stored.file.get_tensor(stored.name).to(device, dtype)
    if not tensor.isfinite().all():
        raise UserError(f"{folder}: tensor {name} holds what is not a finite floating-point number")
    return tensor
