"""Values between the checker and a student's process: JSON for what is plain, .npz arrays for tensors. Never
pickle.

A pickle may run code when it is read, so a submission could answer with one that gives itself full marks.
"""

import json
import numbers
import random
import threading
from typing import Any, NamedTuple

import numpy as np
import torch

PLAIN = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
         torch.int8, torch.uint8, torch.bool)
MOST_NUMBERS = 10**7
# Python's parser, which also reads the head of an array's file, counts its depth for all threads together
PARSING = threading.Lock()


class Make(NamedTuple):
    """Something that is built where it is needed: a generator, a Problem, a tensor that asks for its
    gradient."""

    kind: str
    args: tuple = ()


class Once:
    """What can be walked through once, and has no length: as `policy.parameters()` is."""

    def __init__(self, items: list):
        self.items, self.left = items, iter(items)

    def __iter__(self):
        return self.left


class Other(NamedTuple):
    """A returned value of a type that no exercise asks for."""

    type: str


def pack(value: Any) -> dict[str, np.ndarray]:
    """A tree of tuples, lists, dicts, tensors, numbers and texts as arrays for np.savez."""
    arrays: dict[str, np.ndarray] = {}

    def keep(array: np.ndarray, kind: str, dtype: str) -> dict:
        arrays[f"a{len(arrays)}"] = array
        return {kind: f"a{len(arrays) - 1}", "dtype": dtype}

    def walk(x):
        if isinstance(x, torch.Tensor):
            if (x.layout != torch.strided or x.dtype not in PLAIN or x.device.type != "cpu"
                or x.numel() > MOST_NUMBERS):
                says = f"tensor ({x.layout}, {x.dtype}, {x.device}, {x.numel()} numbers)"
                return {"other": says.replace("torch.", "")}
            plain = x.detach().resolve_neg()
            kept = keep((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy(), "tensor",
                        str(x.dtype).removeprefix("torch."))
            return kept | {"trained": x.requires_grad}
        if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            return keep(x, "array", str(x.dtype))
        if isinstance(x, (bool, np.bool_)):
            return bool(x)
        if x is None or isinstance(x, str):
            return x
        if isinstance(x, numbers.Integral):
            return int(x)
        if isinstance(x, numbers.Real):
            return float(x)
        if isinstance(x, Make):
            return {"make": x.kind, "args": [walk(item) for item in x.args]}
        if isinstance(x, dict):
            return {"dict": [[walk(k), walk(v)] for k, v in x.items()]}
        if isinstance(x, tuple):
            return {"tuple": [walk(item) for item in x]}
        return [walk(item) for item in x] if isinstance(x, list) else {"other": type(x).__name__}

    return {"tree": np.array(json.dumps(walk(value))), **arrays}


def unpack(arrays) -> Any:
    """The tree again; what is to be made is made."""

    def walk(x):
        if isinstance(x, list):
            return [walk(item) for item in x]
        if not isinstance(x, dict):
            return x
        if "tensor" in x:
            tensor = torch.from_numpy(np.array(arrays[x["tensor"]])).to(getattr(torch, x["dtype"]))
            return tensor.requires_grad_() if x["trained"] else tensor
        if "array" in x:
            return np.array(arrays[x["array"]])
        if "make" in x:
            return make(x["make"], [walk(item) for item in x["args"]])
        if "dict" in x:
            return {walk(k): walk(v) for k, v in x["dict"]}
        return tuple(walk(item) for item in x["tuple"]) if "tuple" in x else Other(x["other"])

    return walk(json.loads(str(arrays["tree"])))


def make(kind: str, args: list) -> Any:
    # not at the top: whoever only reads results needs no t1mini
    from t1mini.tasks.chains import Chain, Problem

    builders = {"torch.Generator": advanced_generator, "random.Random": random.Random,
                "numpy.Generator": np.random.default_rng,
                "Chain": lambda numbers, ops, values: Chain(tuple(numbers), ops, tuple(values)),
                "Problem": lambda numbers, target: Problem(tuple(numbers), target),
                "trained": lambda tensor: tensor.requires_grad_(), "once": Once}
    return builders[kind](*args)


def advanced_generator(seed: int, drawn: int = 0) -> torch.Generator:
    """A generator that has drawn some numbers already."""
    generator = torch.Generator().manual_seed(seed)
    torch.rand(drawn, generator=generator)
    return generator


def made(value: Any) -> Any:
    """A copy of `value` as a function is to get it: nothing that it changes is changed here."""
    return unpack(pack(value))
