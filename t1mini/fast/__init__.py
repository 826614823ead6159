"""The same tokens and gradients sooner: a second `generate` and a second `score`, with the signatures of
t1mini.rollout.

    schedule.py   generate: which response sits in which row, and when
    decode.py     one token for every row: fused weights, shared prompts
    score.py      score: nothing padded, no prompt twice, never all logits at once
    forward.py    whole sequences through the decoder, in joined matrices

`twins` is where a stage chooses. See them agree: python -m pytest tests/fast/test_twins.py
"""

from functools import partial
from typing import Callable

from t1mini import rollout
from t1mini.fast import schedule, score
from t1mini.runs.machine import Clock, autocast


def twins(config, clock: Clock | None = None) -> tuple[Callable, Callable]:
    """(generate, score): those of this folder, or with --plain those of t1mini.rollout, in --precision.

    A reader's own functions can only stand in plain code, so an --exercise implies --plain. `clock` is told
    what each call takes.
    """
    clock = clock or Clock()
    if config.plain or getattr(config, "exercise", ""):
        chosen = rollout.generate, rollout.score
    else:
        recompute = getattr(config, "recompute", False)
        chosen = partial(schedule.generate, clock=clock), partial(score.score, recompute=recompute)
    return tuple(partial(_in_precision, function, config, clock, name)
                 for function, name in zip(chosen, ("rollout", "score")))


def _in_precision(function: Callable, config, clock: Clock, name: str, *arguments, **keywords):
    with clock.part(name), autocast(getattr(config, "precision", "float32"), config.device):
        return function(*arguments, **keywords)
