"""The optimiser: AdamW, gradients clipped to a norm, a learning rate that warms up and then decays.

    lr(step) = peak * min(1, (step + 1) / warmup) * decay,   decay from 1 down to `final` along half a cosine

Weight decay pulls on matrices only: on norms and biases it would be a wish for a different model, not a
simpler one. SFT and RL share this file. An update with a quantity that is not finite, on any rank, is not
applied on any.
"""

import math
from typing import Callable

import torch
from torch import Tensor, nn

from t1mini.runs.settings import UserError
from t1mini.runs.team import Team


class NotFinite(Exception):
    """An update that was not applied: the quantity that is not finite, and rows that describe its batch."""


class Optimiser:
    """AdamW over `model`, for `steps` updates. `updates` is the number of the last one applied, from 1."""

    def __init__(self, model: nn.Module, team: Team, *, lr: float, steps: int, warmup: int, clip: float,
                 weight_decay: float, final: float = 0.0, largest_gap: float = math.inf):
        self.model, self.team, self.clip, self.largest_gap = model, team, clip, largest_gap
        self.schedule = lr, steps, warmup, final
        self.updates = 0
        groups = [{"params": [p for p in model.parameters() if (p.ndim >= 2) == matrices],
                   "weight_decay": weight_decay * matrices} for matrices in (True, False)]
        # runs are short: at 0.999 the squares would be averaged over a thousand updates
        self.adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)

    def step(self, i: int, quantities: dict, describe: Callable, gap: Tensor | None = None):
        """Applies the gradients, summed over the ranks and clipped, as update `i`. Returns the norm they had.

        Nothing is applied, and NotFinite raised, where the gradient or one of the quantities is not finite on
        any rank; `describe` then gives the rows of the batch. UserError where `gap`, in nats a token, says
        that what would be trained is not what was sampled.
        """
        self.team.sum_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        quantities = quantities | {"gradient": norm}
        bad = torch.stack([~x.isfinite().all() for x in quantities.values()])
        for name, is_bad in zip(quantities, self.team.max(bad.float()).tolist()):
            if is_bad:
                self.adamw.zero_grad()
                raise NotFinite(name, describe())
        if gap is not None and not self.team.max(gap).item() <= self.largest_gap:
            raise UserError(f"rollout and update disagree by {gap.item():.3g} nats on a token (limit "
                            f"{self.largest_gap:.3g}); the step was not applied. Are the weights of --init "
                            "sound, and --lr not too high?")
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate(i, *self.schedule)
        self.adamw.step()
        self.adamw.zero_grad()
        self.updates = i + 1
        return norm.item()

    def state(self):
        """AdamW's moments and step counts, by the parameters' names."""
        named = self.model.named_parameters()
        return {f"{name}.{key}": value for name, p in named for key, value in self.adamw.state[p].items()}

    def load_state(self, state: dict):
        """What `state` returned, in place of what is here; before the first update that is nothing."""
        for name, p in self.model.named_parameters() if state else ():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                self.adamw.state[p][key] = state[f"{name}.{key}"].to(p.device)


def learning_rate(step: int, peak: float, steps: int, warmup: int, final: float = 0.0):
    """The rate of update `step`, from 0; `final` is the share of the peak that the last one comes down to.

    >>> [round(learning_rate(s, 1.0, steps=5, warmup=2), 2) for s in range(5)]
    [0.5, 0.85, 0.5, 0.15, 0.0]
    """
    progress = step / max(1, steps - 1)
    decay = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / max(1, warmup)) * decay
