"""A reader's own functions in the real loop: rl --exercise FILE.

The exercises of tutorials/ ask for functions by the names and signatures that the plain stages call. Where
FILE has one of them, it takes the library's place for the run; a blank stub does not. So what is checked on
small tensors can be seen to train, or not to.

Run it: python -m t1mini rl --exercise tutorials/exercises/ex06_policy_gradient.py --steps 20
"""

import contextlib
import sys
import traceback
from itertools import product
from types import FunctionType

from t1mini import loss, penalties, reference
from t1mini.runs.settings import UserError, own_file

LESSONS = {
    "06": "rloo_advantages logprobs_from_logits policy_gradient_loss",
    "07": "token_entropy",
    "08": "sequence_kl centred_kl ema_update",
    "09": "is_repetitive is_overlong penalised_reward is_garbled",
}
LIBRARY = {name: (vars(loss) | vars(reference) | vars(penalties))[name]
           for names in LESSONS.values() for name in names.split()}


@contextlib.contextmanager
def in_place(functions: dict):
    """While the block runs, these functions stand wherever the library's of the same name did."""
    with contextlib.ExitStack() as stack:
        for name, (path, module) in product(functions, sys.modules.items()):
            if path.startswith("t1mini.") and getattr(module, name, None) is LIBRARY[name]:
                setattr(module, name, functions[name])
                stack.callback(setattr, module, name, LIBRARY[name])
        yield


@contextlib.contextmanager
def exercise(path: str):
    """in_place, for the functions of a file that are more than a blank stub.

    UserError where it has none, or where they fail, naming the line. Whether they are right check.py tells.
    """
    found = own_file("--exercise", path, "there is no such file; the stubs are in tutorials/exercises")
    own = {name: f for name, f in found.items() if name in LIBRARY and isinstance(f, FunctionType)
           and f.__code__.co_names != ("NotImplementedError",)}  # the one name that a blank one speaks of
    if not own:
        raise UserError(f"--exercise {path}: it has none of the functions that the loop calls, or only blank "
                        f"ones: {', '.join(LIBRARY)}")
    check = " and ".join(f"python tutorials/check.py {number} --submission {path}"
                         for number, names in LESSONS.items() if own.keys() & names.split())
    print(f"{path}: {', '.join(own)} take the library's place; {check} says whether they are right")
    try:
        with in_place(own):
            yield
    except (Exception, SystemExit) as error:  # the reader's code may raise anything
        frames = traceback.extract_tb(error.__traceback__)
        if "train" not in [frame.name for frame in frames] or isinstance(error, OSError):
            raise  # not of the step
        at = [f" in {frame.name}, line {frame.lineno}" for frame in frames if frame.filename == path]
        raise UserError(f"with {path} the step fails{''.join(at[-3:])}: {type(error).__name__}: {error}; "
                        f"{check} may say why") from error
