"""From what is expected and what came back to one sentence that names the mistake.

First the mistakes that the task knows: whole wrong functions, of which the one that agrees with the
submission wherever that is wrong is it. Where none does, what can be seen from outside: nothing returned, a
wrong shape, a flipped sign, an argument that makes no difference, a gradient that does not flow.
"""

from typing import NamedTuple, Sequence

import numpy as np
import torch

from checking.tasks import (TOLERANCE, Case, Task, cases_of, compare, differs, mistaken, no_gradient,
                            same_numbers, type_name)
from checking.values import made

# share of wrong cases that a mistake has to explain, less the share of its cases that are right
ENOUGH = 0.45
HINTS = {"must match the size": "which axes should broadcast? keepdim=True, [:, None] or "
                                "repeat_interleave may be missing",
         "index out of range": "is it one too far? randint's upper end is included, len is no place",
         "math domain error": "a logarithm of 0, or a root of less: which case does the formula not know?"}
LOOSELY = 30 * TOLERANCE  # a mistake may come with a rounded constant


class Finding(NamedTuple):
    passed: bool
    says: str = ""
    case: str = ""
    yours: str = ""
    expected: str = ""


def judge(task: Task, outcomes: Sequence[dict], ended: str = "") -> Finding:
    """The verdict on one function. Outcomes may be fewer than the task's cases, when `ended` says why."""
    cases, expected = cases_of(task)
    wrong = [i for i, outcome in enumerate(outcomes) if compare(task, cases[i], expected[i], outcome)]
    changed = [i for i, outcome in enumerate(outcomes)
               if changed_argument(task, cases[i], outcome) is not None]
    if not wrong and not changed and not ended:
        says = task.across(cases, outcomes) if task.across else None
        return Finding(not says, says or "")
    if not wrong and not changed:
        label = cases[len(outcomes)].label
        return Finding(False, f"{ended}, in the case: {label}", label)
    i = (wrong or changed)[0]
    if why := refusal(outcomes[i]):
        return Finding(False, why)
    says = ""
    if wrong:
        says = task.look(cases, outcomes) if task.look else None
        says = (says or known(task, cases, expected, outcomes, wrong)
                or task.last and task.last(cases, outcomes)
                or seen(task, cases, expected, outcomes, wrong))
    if changed:
        number = changed_argument(task, cases[changed[0]], outcomes[changed[0]]) + 1
        says += (f"{'; it also changes' if wrong else 'the function changes'} its argument number {number}, "
                 "which should stay as it is: in place, or through .data, or requires_grad_?")
    return Finding(False, says, cases[i].label, show(outcomes[i], cases[i], expected[i]),
                   show(expected[i], cases[i], expected[i]))


def refusal(outcome: dict) -> str | None:
    """Where the function has not been written, is the library's, or ends the process."""
    kind, message, line, _ = outcome["error"] or ("", "", 0, "")
    return {"NotImplementedError": f"not written yet{': ' + message if message else ''}",
            "LibraryAnswer": f"it calls {message}, the library's own answer: write the function yourself",
            "SystemExit": f"it calls sys.exit (line {line}): return, or raise an error",
            "Unreadable": f"what it returns cannot be read: {message}"}.get(kind)


def known(task: Task, cases: Sequence[Case], expected: list[dict], outcomes: Sequence[dict],
          wrong: list[int]) -> str | None:
    """The task's mistake that explains most of the wrong cases and shows in fewest of the right ones, if any
    does well enough."""
    best, most = None, ENOUGH
    for mistake in task.mistakes:
        explained = shows = denied = 0
        for i, outcome in enumerate(outcomes):
            theirs = mistaken(task, mistake)[i]
            if compare(task, cases[i], expected[i], theirs):
                shows += 1
                explained += (i in wrong and compare(task, cases[i], theirs, outcome, LOOSELY) is None
                              and torch_says(theirs) == torch_says(outcome))
                denied += i not in wrong
        score = explained / len(wrong) - denied / max(shows, 1)
        if score > most:
            best, most = mistake.says, score
    return best


def torch_says(outcome: dict) -> str:
    """torch's own words for what went wrong: RuntimeErrors are of all kinds."""
    return outcome["error"][1] if outcome["error"] and outcome["error"][0] == "RuntimeError" else ""


def seen(task: Task, cases: Sequence[Case], expected: list[dict], outcomes: Sequence[dict],
         wrong: list[int]) -> str:
    """What can be said without knowing the mistake."""
    i = wrong[0]
    case, want, have = cases[i], expected[i], outcomes[i]
    if have["error"]:
        kind, message, line, text = have["error"]
        hint = next((f" ({hint})" for text, hint in HINTS.items() if text in message), "")
        asked = f"{want['error'][0]} is asked for; yours raises " if want["error"] else ""
        return (f"{asked}{kind}: {message or 'no message'}" + (f", at line {line}: {text}" if line else "")
                + f", in the case: {case.label}{hint}")
    if want["error"]:
        return f"it should raise {want['error'][0]} in the case: {case.label}"
    right = len(outcomes) - len(wrong)
    where = (f"; right in {right} of {len(outcomes)} cases, first wrong in: {case.label}" if right
             else f"; wrong in: {case.label}")
    if have["value"] is None and want["value"] is not None:
        return "it returns None" + (where if right else ": is a return missing?")
    difference = (task.agrees or differs)(want["value"], have["value"])
    if not difference and task.same_dtype and compare(task, case, want, have).startswith("type"):
        difference = "type"
    if difference and difference.startswith(("type", "length", "shape")):
        return shape_words(want["value"], have["value"]) + (where if right else "")
    ignored = [cases[j].varies for j in range(1, len(outcomes))
               if j in wrong and cases[j].varies and differs(expected[j - 1]["value"], expected[j]["value"])
               and not differs(outcomes[j - 1]["value"], outcomes[j]["value"])]
    if ignored:
        return f"{ignored[0]} makes no difference to your result, and it should"
    if difference:
        words = (task.describes or number_words)(want["value"], have["value"])
        if words and right:
            return (f"where it is wrong first, {case.label}, {words}; right in {right} of {len(outcomes)} "
                    "cases")
        return words or where.removeprefix("; ")
    if compare(task, case, want, have).endswith("grad"):
        return "what it changes in place asks for a gradient afterwards: work under torch.no_grad()"
    return gradient_words(case, want, have) or "what it changes in place is not what it should be" + where


def shape_words(want, have) -> str:
    if isinstance(want, tuple) and isinstance(have, (tuple, list)) and len(want) == len(have):
        i = next(i for i, (a, b) in enumerate(zip(want, have)) if differs(a, b))
        return f"item {i + 1} of what it returns: {shape_words(want[i], have[i])}"
    if isinstance(want, torch.Tensor) and isinstance(have, torch.Tensor):
        if have.shape == want.shape:
            return f"it returns numbers of type {have.dtype}, they should be of {want.dtype}"
        says = f"the shape is {list(have.shape)}, it should be {list(want.shape)}"
        turned = have.ndim == 2 and have.T.shape == want.shape
        smaller = ": summed or averaged over too much?" if have.ndim < want.ndim else ""
        return says + (": transposed?" if turned else smaller)
    if type(want) is list and isinstance(have, tuple):
        return "it returns a tuple, it should be a list"
    if type(want) in (list, tuple) and isinstance(have, (list, tuple)):
        return f"it returns {len(have)} items, it should be {len(want)}"
    return (f"it returns {type_name(have)}, it should be "
            f"{'str' if isinstance(want, list) and want and isinstance(want[0], str) else type_name(want)}")


def number_words(want, have) -> str | None:
    """How two sets of numbers of one shape are related."""
    if isinstance(want, (tuple, list)) and any(not isinstance(x, (int, float)) for x in want):
        i = next(i for i, (a, b) in enumerate(zip(want, have)) if differs(a, b))
        return f"item {i + 1} of what it returns: {number_words(want[i], have[i]) or 'the numbers differ'}"
    if (torch.is_tensor(want) and want.is_floating_point() and torch.is_tensor(have)
        and not have.is_floating_point()):
        return f"it returns whole numbers or truth values ({have.dtype}); want fractions, as what goes in"
    if isinstance(want, (tuple, list)) and want and all(isinstance(x, (int, float)) for x in want):
        want, have = torch.tensor([float(x) for x in want]), torch.tensor([float(x) for x in have])
        if same_numbers(want.flip(0), have):
            return "the items are in the reverse order"
    if isinstance(want, bool):
        return None
    a, b = (torch.as_tensor(x, dtype=torch.float64) if not isinstance(x, str) and x is not None else None
            for x in (want, have))
    if a is None or b is None:
        return None
    if not b.isfinite().all() and a.isfinite().all():
        return "there is NaN or infinity in it: a log of 0, 0 / 0, 0 * inf, or an exp that overflows?"
    if torch.is_tensor(want) and want.dtype == torch.bool:
        return "every True is False and every False is True" if same_numbers(1 - a, b) else None
    if not b.any() and a.any():
        return "it is all zeros"
    if b.numel() > 1 and (b == b.flatten()[0]).all():
        return "it is the same number everywhere"
    if same_numbers(-a, b):
        return "the sign is flipped"
    if same_numbers(a.abs(), b):
        return "the signs are lost"
    big = a.abs() > 1e-3
    if big.sum() > 1 or a.numel() == 1 and big.any():
        ratio = (b[big] / a[big]).mean()
        if abs(ratio) > 1e-6 and f"{ratio:.4g}" != "1" and same_numbers(a * ratio, b):
            return f"every number is {ratio:.4g} times what it should be"
    if a.numel() > 1 and same_numbers(a + (b - a).mean(), b):
        return f"every number is off by {(b - a).mean():.4g}"
    if a.ndim and a.shape[-1] > 2:
        if same_numbers(a[..., 1:], b[..., :-1]):
            return "it is shifted by one to the left"
        if same_numbers(a[..., :-1], b[..., 1:]):
            return "it is shifted by one to the right"
    if a.numel() > 2 and same_numbers(a.flatten().sort().values, b.flatten().sort().values):
        return "the numbers are right and stand in the wrong order"
    if (b - a).abs().max() < 1e-2 * max(1.0, a.abs().max().item()):
        return "nearly right: is something rounded, or of lower precision?"
    return None


def gradient_words(case: Case, want: dict, have: dict) -> str | None:
    for k, i in enumerate(case.grad):
        a, b = (outcome["grads"][k] if outcome["grads"] else None for outcome in (want, have))
        which = f"`{i}`" if isinstance(i, str) else f"argument number {i + 1}"
        if no_gradient(a) and not no_gradient(b):
            return f"a gradient flows into {which}, and none should: detach it"
        if no_gradient(b) and not no_gradient(a):
            return (f"no gradient flows into {which}: is something detached, turned into a Python number, or "
                    "under no_grad?")
        if not no_gradient(a) and not same_numbers(a, b):
            return (f"the value is right, its gradient by {which} is not: "
                    f"{number_words(a, b) or 'is a part of it detached?'}")
    return None


def changed_argument(task: Task, case: Case, outcome: dict) -> int | None:
    """The number of an argument that the function has changed and should not have."""
    for i, (before, after) in enumerate(zip(made(case.args), outcome["args"])):
        before, after = (torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in (before, after))
        if (i not in task.in_place and isinstance(before, (torch.Tensor, list)) and not outcome["error"]
            and (differs(before, after) or i not in case.grad and trained(before) != trained(after))):
            return i
    return None


def trained(value) -> list[bool]:
    """Whether each of its tensors requires a gradient."""
    return [x.requires_grad for x in ([value] if isinstance(value, torch.Tensor) else value)
            if isinstance(x, torch.Tensor)]


def show(outcome: dict, case: Case, expected: dict) -> str:
    """An outcome on a line."""
    if outcome["error"]:
        return f"{outcome['error'][0]}: {outcome['error'][1]}"[:200]
    if outcome["value"] is None and expected["value"] is None and outcome["args"]:
        return short(outcome["args"][0])
    return short(outcome["value"])


def short(value) -> str:
    text = repr(value.detach() if isinstance(value, torch.Tensor) else value)
    text = " ".join(text.replace("tensor(", "").split())
    return text if len(text) <= 160 else text[:157] + "..."
