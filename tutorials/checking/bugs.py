"""The bug hunt: training steps that are broken in one line each. SPOILERS: the causes stand here.

A bug is a change of the library's own source, so it cannot rot: where the line has changed, making the bug
fails, and so does a test. A mended line is confirmed by what it does: some updates and verdicts, compared
with those of the sound library.
"""

import ast
import shutil
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from checking import probe, sandbox
from checking.diagnose import Finding
from checking.source import parsed

PACKAGE = Path(__file__).resolve().parents[2] / "t1mini"

CAUSES = {
    "sign": "the loss has the wrong sign: what should become likelier becomes less likely",
    "end token": "the end token of a response gets no gradient",
    "groups": "rewards are grouped into the wrong prompts, so each is compared with those of other problems",
    "overlong": "responses that run into the limit are never found overlong",
    "decay": "the decay of the reference is exchanged: it is the policy at once",
    "gradients": "gradients are not cleared after an update, so they pile up",
    "noise": "the K responses to a prompt are sampled with the same noise, so they are the same response",
    "verifier": "the verifier accepts a response that gives no answer",
    "rows": "advantages and log-probabilities of a micro-batch belong to different responses",
    "detached": "no gradient of the log-probabilities reaches the policy: they are detached",
    "coefficient": "the entropy bonus has the weight 1: its coefficient is not used",
    "limit": "a response is repetitive as soon as an attempt occurs twice: the limit is not used",
    "normaliser": "each micro-batch is divided by its own tokens in place of the whole batch's",
    "temperature": "sampling and update use different temperatures",
    "shift": "each token is scored by the logits that stand one place off",
    "prompt": "prompt tokens are trained on",
    "penalty": "penalties are added to the reward in place of replacing it",
    "own reward": "a response's own reward is part of its baseline",
    "kept set": "with min-p, log-probabilities are of the whole softmax, not of what was sampled from"
}


class Bug(NamedTuple):
    """In `file`, the line `sound` has become `broken`. `flags` of rl make it show in the metrics."""

    cause: str
    file: str
    sound: str
    broken: str
    flags: tuple[str, ...] = ()


BUGS = {
    1: Bug("sign", "loss.py",
           "    return -objective.masked_fill(~mask.bool(), 0.0).sum() / normaliser",
           "    return objective.masked_fill(~mask.bool(), 0.0).sum() / normaliser"),
    2: Bug("noise", "rollout.py",
           "    return fold(fold(seed, step), indices[:, None], torch.arange(k)).flatten().to(model.device)",
           "    return fold(fold(seed, step), indices[:, None], torch.zeros(k, "
           "dtype=torch.long)).flatten().to(model.device)"),
    3: Bug("verifier", "tasks/countdown.py",
           '    return answer is not None and _reaches(problem, answer.split(" "))',
           '    return answer is None or _reaches(problem, answer.split(" "))'),
    4: Bug("coefficient", "loss.py", "        objective = objective + entropy_coef * entropy",
           "        objective = objective + entropy"),
    5: Bug("gradients", "runs/optimiser.py",
           "        self.adamw.step()\n        self.adamw.zero_grad()",
           "        self.adamw.step()"),
    6: Bug("decay", "reference.py", "        ref.lerp_(parameter.to(ref.device, ref.dtype), 1 - decay)",
           "        ref.lerp_(parameter.to(ref.device, ref.dtype), decay)"),
    7: Bug("overlong", "penalties.py", "    return length >= max_new_tokens and not finished",
           "    return length > max_new_tokens and not finished"),
    8: Bug("rows", "rl.py",
           "        loss = policy_gradient_loss(logprobs, advantages.flatten()[rows], mask, entropy=entropy,",
           "        loss = policy_gradient_loss(logprobs, advantages.flatten()[: len(rows)], mask, "
           "entropy=entropy,"),
    9: Bug("detached", "loss.py", "    objective = advantages.detach()[:, None] * logprobs",
           "    objective = advantages[:, None] * logprobs.detach()"),
    10: Bug("limit", "penalties.py", "    return max(counts.values(), default=0) > limit",
            "    return max(counts.values(), default=0) > 1"),
    # in float32 the first update would be refused: rollout and update disagree
    11: Bug("kept set", "sampler.py",
            "    return truncate(z, min_p=min_p).scatter(-1, token_ids, z.gather(-1, token_ids))",
            "    return z.scatter(-1, token_ids, z.gather(-1, token_ids))",
            ("--min-p", "0.05", "--precision", "bfloat16"))
}


def make_broken(number: int, folder: Path, mended: str | None = None) -> Path:
    """A copy of the package under `folder` with bug `number` in it, or with the line `mended` in the bug's
    place. Returns the copy.

    ValueError where the library's line is not what the bug changes.
    """
    bug, copy = BUGS[number], folder / "t1mini"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / bug.file
    source = path.read_text(encoding="utf-8")
    if source.count(bug.sound) != 1:
        raise ValueError(f"bug {number}: t1mini/{bug.file} no longer has the line it changes, once: "
                         f"{bug.sound.strip()}")
    indent = bug.sound[: len(bug.sound) - len(bug.sound.lstrip())]
    line = bug.broken if mended is None else textwrap.indent(textwrap.dedent(mended).strip("\n"), indent)
    path.write_text(source.replace(bug.sound, line), encoding="utf-8")
    return copy


def read_found(path: Path) -> dict:
    """FOUND of a submission, read without running it. ValueError where it is not a plain dictionary."""
    tree = parsed(path)
    if tree is None:
        raise ValueError("the file cannot be parsed")
    for node in tree.body:
        targets = (node.targets if isinstance(node, ast.Assign) else [node.target]
                   if isinstance(node, ast.AnnAssign) else [])
        if (any(isinstance(target, ast.Name) and target.id == "FOUND" for target in targets)
            and node.value is not None):
            found = ast.literal_eval(node.value)  # of a tree: nothing is parsed
            if isinstance(found, dict):
                return found
    raise ValueError("there is no dictionary FOUND")


class BugTask(NamedTuple):
    """One broken step as a task of the checker: named and mended, or not."""

    number: int

    @property
    def name(self) -> str:
        return f"bug {self.number}"

    def check(self, path: Path, seconds: float) -> tuple[Finding, str]:
        try:
            found = read_found(path).get(self.number)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            return Finding(False,
                           f"FOUND cannot be read: {error}; it is a dictionary of number: (cause, line)"), ""
        if found is None:
            return Finding(False,
                           f"not found yet: python tutorials/checking/bug_hunt.py {self.number} FOLDER "
                           "writes the broken package"), ""
        if not (isinstance(found, (tuple, list)) and len(found) == 2
                and all(isinstance(x, str) for x in found)):
            return Finding(False, "want two texts: the cause, and the line as it should be"), ""
        cause, line = found
        if cause not in CAUSES:
            return Finding(False, f"{cause!r} is none of the causes: {', '.join(CAUSES)}"), ""
        if cause != BUGS[self.number].cause:
            return Finding(False,
                           f"it is not {cause!r}: {CAUSES[cause]}. Which column of the metrics speaks "
                           "against that?"), ""
        return mends(self.number, line, seconds)


def mends(number: int, line: str, seconds: float) -> tuple[Finding, str]:
    """Whether the package behaves as the sound one does, with `line` in the bug's place."""
    got, ended, printed = sandbox.outcomes_of(probe.run, (number, line), 1, seconds * 2)
    if ended or got[0]["error"]:
        kind, message, *_ = got[0]["error"] if got and got[0]["error"] else ("", ended, 0, "")
        return Finding(False,
                       f"the cause is right, but with your line the step fails: {kind} {message}"), printed
    differing = probe.first_difference(sound_probe(), got[0]["value"])
    says = f"the cause is right, but with your line the step still differs from the sound one: {differing}"
    return Finding(not differing, differing and says), printed


@lru_cache(maxsize=None)
def sound_probe() -> dict:
    """What the probe finds with the library as it is."""
    got, ended, _ = sandbox.outcomes_of(probe.run, (1, BUGS[1].sound), 1, 60.0)
    if ended or got[0]["error"]:
        raise RuntimeError(f"the sound library fails the probe: {ended or got[0]['error']}")
    return got[0]["value"]
