"""A reader's own functions in the real loop: rl --exercise FILE.

The exercises of tutorials/ ask for functions by the names and signatures that the loop calls. Where FILE has one of them, it takes the
library's place for the run; a blank stub does not. So what is checked on small tensors can be seen to train, or not to.

Run it: python -m t1mini rl --exercise tutorials/exercises/ex06_policy_gradient.py --steps 20
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
from pathlib import Path
from typing import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from t1mini import loss
from t1mini import rollout
from t1mini.runs.settings import UserError

CALLED_IN = {
    "rloo_advantages": "rl",
    "sequence_kl": "rl",
    "centred_kl": "rl",
    "policy_gradient_loss": "update",
    "ema_update": "reference",
    "is_repetitive": "reward",
    "is_overlong": "reward",
    "penalised_reward": "reward",
}
SCORING = ("logprobs_from_logits", "token_entropy")  # the loop scores with both at once, in chunks: t1mini.loss.token_logprobs


@contextlib.contextmanager
def in_place(path: str) -> Iterator[None]:
    """While the block runs, the functions of the file stand where the library's did. UserError where it has none, or cannot be run."""
    own = read_functions(Path(path))
    places = [(importlib.import_module(f"t1mini.{CALLED_IN[name]}"), name, function) for name, function in own.items() if name in CALLED_IN]
    if own.keys() & set(SCORING):
        places.append((rollout, "token_logprobs", functools.partial(slow_token_logprobs, own)))
    before = [getattr(module, name) for module, name, _ in places]
    print(f"{path}: {', '.join(own)} take the library's place")
    try:
        for module, name, function in places:
            setattr(module, name, function)
        yield
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:  # what the loop makes of a wrong result
        raise UserError(f"with {path} the step fails: {type(error).__name__}: {error}; python tutorials/check.py may say why") from error
    finally:
        for (module, name, _), function in zip(places, before):
            setattr(module, name, function)


def read_functions(path: Path) -> dict[str, Callable]:
    """The functions of the file that the loop calls and that are more than a blank stub."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        spec = importlib.util.spec_from_file_location("exercise", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except Exception as error:  # the reader's code may raise anything
        raise UserError(f"--exercise {path}: {type(error).__name__}: {error}") from None
    written = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not is_blank(node)]
    own = {name: named(path, name, getattr(module, name)) for name in (*CALLED_IN, *SCORING) if name in written}
    if not own:
        raise UserError(
            f"--exercise {path}: it has none of the functions that the loop calls, or only blank ones: {', '.join((*CALLED_IN, *SCORING))}"
        )
    return own


def is_blank(node: ast.FunctionDef) -> bool:
    """True for a stub: nothing but a docstring and `raise NotImplementedError`."""
    body = [inner for inner in node.body if not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.dump(body[0])


def named(path: Path, name: str, function: Callable) -> Callable:
    """The function, its errors told as the reader's."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise UserError(f"{name} of {path} raised {type(error).__name__}: {error}; python tutorials/check.py says more") from error

    return wrapped


def slow_token_logprobs(
    own: dict[str, Callable], hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, vocab_limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """`loss.token_logprobs` by way of all logits [M, V], with the reader's functions for the two halves."""
    logprobs_from_logits = own.get("logprobs_from_logits", loss.logprobs_from_logits)
    token_entropy = own.get("token_entropy", loss.token_entropy)
    logits = F.linear(hidden, weight[:vocab_limit]).float()  # [M, V]
    pairs = torch.stack((torch.zeros_like(targets), targets), dim=1)  # [M, 2]: logits[:, 0] score the second of each
    logprobs = logprobs_from_logits(torch.stack((logits, logits), dim=1), pairs, temperature)[:, 1]
    return logprobs, token_entropy(logits / (temperature or 1.0)).view(targets.shape)
