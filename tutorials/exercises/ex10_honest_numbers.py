"""Exercise 10: inference scaling and honest numbers (tutorials/10_inference_scaling.md).

Check it: python tutorials/check.py 10
"""

from typing import Sequence

import numpy as np


def truncate_thinking(ids: Sequence[int], budget: int, end_id: int) -> list[int]:
    """The first `budget` tokens of the thinking, which ends before the first `end_id`, or with
    ids if there is none. About 3 lines, 10 minutes, easy."""
    raise NotImplementedError


def wilson_interval(c: int, n: int) -> tuple[float, float]:
    """95% interval (low, high) of the share c / n of n independent trials (Wilson 1927), z = 1.96; n >= 1.
    About 5 lines, 15 minutes, medium.

    With p = c / n:  (p + z^2/2n  -+  z sqrt(p (1-p) / n + z^2/4n^2)) / (1 + z^2/n)
    """
    raise NotImplementedError


def paired_bootstrap(a: np.ndarray, b: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """95% interval (low, high) of mean(a) - mean(b) over problems, by 2,000 resamples.
    About 6 lines, 20 minutes, medium.

    a and b [problems] or [problems, samples]: two policies' scores on the same problems. A resample draws as
    many problems as there are, with `generator`, each perhaps several times, and the same ones for both; the
    interval runs from the 2.5th to the 97.5th percentile.
    """
    raise NotImplementedError


def accuracy_at(budget: int, lengths: np.ndarray, finished: np.ndarray, own: np.ndarray,
                forced: np.ndarray) -> float:
    """A point of the budget curve: the share of N responses that are right if thinking may take so long.
    About 3 lines, 10 minutes, easy.

    lengths [N], end token counted; finished [N]: whether a response has its end token; own [N]: whether its
    own answer is right; forced [N]: whether the one is that it gives when it is cut at this budget. What has
    ended within `budget` tokens keeps its own answer; all else is cut, and forced.
    """
    raise NotImplementedError


# The bug hunt (python tutorials/checking/bug_hunt.py list says how): for each broken training step the cause,
# and the line as it should be. Where a line is missing, give it with the line that stands before it, as one
# text: "one line\nthe other".
FOUND: dict[int, tuple[str, str]] = {
    # 1: ("sign", "the line, mended"),
}
