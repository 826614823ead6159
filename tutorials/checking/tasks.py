"""A task: one function of an exercise, what it is given, what is expected of it, and the mistakes that are
known by name.

`expected` computes the answer on its own, by another road than the library where there is one (loops,
enumeration, the definition), so that a task does not repeat the library's mistakes. A mistake is a whole
wrong function: a submission that agrees with it where it disagrees with `expected` has made that mistake.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
import torch

from checking.runner import call
from checking.values import Other, made

TOLERANCE = 1e-5  # of the largest expected number, or of 1 where that is less


class Case(NamedTuple):
    """What the function is called with.

    `varies` names what alone differs from the case before: an answer that stays the same ignores it.
    """

    label: str
    args: tuple
    kwargs: dict = {}
    grad: tuple[int | str, ...] = ()
    varies: str = ""


class Mistake(NamedTuple):
    says: str
    function: Callable


@dataclass(frozen=True)
class Task:
    """`in_place` numbers arguments that the function is to change; all others it has to leave as they are.

    `agrees(expected, got)` is None or says what differs, `describes` how. `across(cases, outcomes)` looks at
    all of them once each agrees, `look` before anything else where one does not, `last` where no known
    mistake explains it.
    """

    name: str
    cases: Callable[[int], list[Case]]  # of a seed
    expected: Callable
    mistakes: Sequence[Mistake] = ()
    answers: Sequence[str] = ()
    in_place: tuple[int, ...] = ()
    same_dtype: bool = False  # as what is expected
    seeds: int = 3
    agrees: Callable[[Any, Any], str | None] | None = None
    across: Callable[[list[Case], list[dict]], str | None] | None = None
    describes: Callable[[Any, Any], str | None] | None = None
    look: Callable[[list[Case], list[dict]], str | None] | None = None
    last: Callable[[list[Case], list[dict]], str | None] | None = None

    def all_cases(self) -> list[Case]:
        cases = []
        for seed in range(self.seeds):
            cases += [case._replace(label=f"{case.label} (seed {seed})" if self.seeds > 1 else case.label)
                      for case in self.cases(seed)]
        return cases


@lru_cache(maxsize=None)
def cases_of(task: Task) -> tuple[list[Case], list[dict]]:
    """A task's cases and what is expected in each."""
    cases = task.all_cases()
    return cases, [outcome_of(task.expected, case) for case in cases]


@lru_cache(maxsize=None)
def mistaken(task: Task, mistake: Mistake) -> list[dict]:
    """What a known mistake does in each of the cases."""
    return [outcome_of(mistake.function, case) for case in cases_of(task)[0]]


def outcome_of(function: Callable, case: Case) -> dict:
    """What `function` does in this case, computed here."""
    return call(function, made(case.args), made(case.kwargs), case.grad)


def compare(task: Task, case: Case, expected: dict, got: dict, tolerance: float = TOLERANCE) -> str | None:
    """None where `got` is as expected, else what differs in a few words."""
    if expected["error"] or got["error"]:
        kinds = [outcome["error"][0] if outcome["error"] else None for outcome in (expected, got)]
        return None if kinds[0] == kinds[1] else "error"
    difference = (task.agrees(expected["value"], got["value"]) if task.agrees
                  else differs(expected["value"], got["value"], tolerance))
    if difference:
        return difference
    dtypes = [getattr(outcome["value"], "dtype", None) for outcome in (expected, got)]
    if task.same_dtype and dtypes[0] != dtypes[1]:
        return f"type {dtypes[1]}"
    for i in case.grad:
        k = case.grad.index(i)
        want, have = (outcome["grads"][k] if outcome["grads"] else None for outcome in (expected, got))
        if no_gradient(want) != no_gradient(have) or not no_gradient(want) and differs(want, have, tolerance):
            return f"gradient {i}"
    for i in task.in_place:
        if difference := differs(expected["args"][i], got["args"][i], tolerance):
            return f"argument {i}: {difference}"
        if [x.requires_grad for x in expected["args"][i]] != [x.requires_grad for x in got["args"][i]]:
            return f"argument {i}: grad"
    return None


def no_gradient(grad) -> bool:
    return grad is None or not bool((grad != 0).any())


def differs(expected: Any, got: Any, tolerance: float = TOLERANCE) -> str | None:
    """None where two values are the same within the tolerance, else what differs."""
    if type(expected) is list and isinstance(got, (tuple, torch.Tensor, np.ndarray)):
        return f"type {type_name(got)}"
    if isinstance(expected, (tuple, list)) and not isinstance(expected, str):
        items = (list(got) if isinstance(got, (tuple, list)) else got.tolist()
                 if isinstance(got, (torch.Tensor, np.ndarray)) and got.ndim else None)
        if items is None:
            return f"type {type_name(got)}"
        if len(items) != len(expected):
            return f"length {len(items)}"
        return next((found for a, b in zip(expected, items) if (found := differs(a, b, tolerance))), None)
    if isinstance(expected, torch.Tensor):
        if not isinstance(got, torch.Tensor):
            return f"type {type_name(got)}"
        if expected.shape != got.shape:
            return f"shape {tuple(got.shape)}"
        if expected.dtype == torch.bool != got.dtype:
            return f"type {got.dtype}"
        return None if same_numbers(expected, got, tolerance) else "values"
    if expected is None or isinstance(expected, str):
        return (None if type(got) is type(expected) and got == expected else f"type {type_name(got)}"
                if type(got) is not type(expected) else "values")
    if (isinstance(got, (torch.Tensor, np.ndarray)) and got.size in (1, ()) or isinstance(got, torch.Tensor)
        and got.numel() == 1):
        got = got.item()
    if (isinstance(got, bool) != isinstance(expected, bool) and got not in (0, 1)
        or not isinstance(got, (bool, int, float))):
        return f"type {type_name(got)}"
    return (None if same_numbers(torch.tensor(float(expected), dtype=torch.float64),
                                 torch.tensor(float(got), dtype=torch.float64), tolerance) else "values")


def same_numbers(expected: torch.Tensor, got: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    a, b = expected.detach().double(), got.detach().double()
    finite = a.isfinite()
    if (not torch.equal(finite, b.isfinite())
        or not torch.equal(a[~finite].nan_to_num(7.0), b[~finite].nan_to_num(7.0))):
        return False
    largest = max(1.0, a[finite].abs().max().item()) if finite.any() else 1.0
    return bool(((a - b)[finite].abs() <= tolerance * largest).all())


def type_name(value: Any) -> str:
    return value.type if isinstance(value, Other) else "None" if value is None else type(value).__name__
