"""A reader's own functions in the real loop: rl --exercise FILE.

The exercises of tutorials/ ask for functions by the names and signatures that the plain stages call. Where
FILE has one of them, it takes the library's place for the run; a blank stub does not. So what is checked on
small tensors can be seen to train, or not to.

Run it: python -m t1mini rl --exercise tutorials/exercises/ex06_policy_gradient.py --steps 20
"""

import ast
import contextlib
import functools
import importlib.util
import sys
from pathlib import Path
from typing import Callable, Iterator

from t1mini import loss, penalties, reference
from t1mini.runs.settings import UserError

CALLED = {loss: ("rloo_advantages", "sequence_kl", "centred_kl", "policy_gradient_loss",
                 "logprobs_from_logits", "token_entropy"),
          reference: ("ema_update",), penalties: ("is_repetitive", "is_overlong", "penalised_reward")}
NAMES = [name for names in CALLED.values() for name in names]


@contextlib.contextmanager
def in_place(functions: dict[str, Callable]):
    """While the block runs, these functions stand wherever the library's of the same name did."""
    library = {name: getattr(module, name) for module, names in CALLED.items() for name in names}
    ours = [module for name, module in sys.modules.items() if name.startswith("t1mini.")]
    places = [(module, name) for module in ours for name in functions
              if getattr(module, name, None) is library[name]]
    for module, name in places:
        setattr(module, name, functions[name])
    try:
        yield
    finally:
        for module, name in places:
            setattr(module, name, library[name])


@contextlib.contextmanager
def exercise(path: str):
    """in_place, for the functions of a file. UserError where it has none, or fails."""
    functions = read_functions(Path(path))
    print(f"{path}: {', '.join(functions)} take the library's place")
    try:
        with in_place(functions):
            yield
    except (TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:  # of a wrong result
        raise UserError(f"with {path} the step fails: {type(error).__name__}: {error}; "
                        "python tutorials/check.py may say why") from error


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
    own = {name: named(path, getattr(module, name)) for name in NAMES if name in written}
    if not own:
        raise UserError(f"--exercise {path}: it has none of the functions that the loop calls, or only blank "
                        f"ones: {', '.join(NAMES)}")
    return own


def is_blank(node: ast.FunctionDef) -> bool:
    """True for a stub: nothing but a docstring and `raise NotImplementedError`."""
    return "NotImplementedError" in ast.dump(node.body[-1]) and len(node.body) <= 2


def named(path: Path, function: Callable) -> Callable:
    """The function, its errors told as the reader's."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise UserError(f"{function.__name__} of {path} raised {type(error).__name__}: {error}; "
                            "python tutorials/check.py says more") from error

    return wrapped
