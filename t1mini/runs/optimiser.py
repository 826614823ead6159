"""The optimiser: AdamW, gradients clipped to a norm, a learning rate that warms up and then decays.

    lr(step) = peak * min(1, (step + 1) / warmup) * decay,   decay from 1 down to `final` along half a cosine

Weight decay pulls on matrices only: on norms and biases it would be a wish for a different model, not a simpler one.
SFT and RL share this file.
"""

import math

import torch
from torch import nn

from t1mini.runs.team import Team


class NotFinite(Exception):
    """An update was not applied: the quantity that this names is not finite."""


class Optimiser:
    """AdamW over `model`, for `steps` updates; `updates` is the number of the last one applied, the first being 1."""

    def __init__(self, model: nn.Module, team: Team = Team(), *, lr: float, steps: int, warmup: int, clip: float, weight_decay: float,
                 final: float = 0.0):
        self.model, self.team, self.lr, self.steps, self.warmup, self.clip, self.final = model, team, lr, steps, warmup, clip, final
        self.updates = 0
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        vectors = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)

    def state(self) -> dict[str, torch.Tensor]:
        """AdamW's moments and step counts, by the parameters' names."""
        return {f"{name}.{key}": value for name, p in self.model.named_parameters() for key, value in self.adamw.state[p].items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """What `state` returned, in place of what is here; before the first update that is nothing."""
        for name, p in self.model.named_parameters() if state else ():
            self.adamw.state[p] = {key: state[f"{name}.{key}"].to(p.device) for key in ("step", "exp_avg", "exp_avg_sq")}

    def clip_gradients(self) -> float:
        """Scales the accumulated gradients down to norm `clip` where theirs is larger. Returns the norm they had."""
        return nn.utils.clip_grad_norm_(self.model.parameters(), self.clip).item()

    def step(self, i: int, **quantities: torch.Tensor | float) -> float:
        """Applies the team's gradients as update `i` and clears them. NotFinite, without applying them, where anything is not finite."""
        self.team.sum_gradients(self.model)
        norm = self.clip_gradients()
        quantities["gradient"] = norm
        device = next(self.model.parameters()).device
        bad = torch.stack([~torch.as_tensor(x, device=device).isfinite().all() for x in quantities.values()]).float()
        for name, is_bad in zip(quantities, self.team.max(bad).tolist()):
            if is_bad:
                self.discard()
                raise NotFinite(name)
        for group in self.adamw.param_groups:
            group["lr"] = learning_rate(i, self.lr, self.steps, self.warmup, self.final)
        self.adamw.step()
        self.discard()
        self.updates = i + 1
        return norm

    def discard(self) -> None:
        """Clears the gradients."""
        self.adamw.zero_grad(set_to_none=True)


def learning_rate(step: int, peak: float, steps: int, warmup: int, final: float = 0.0) -> float:
    """The rate of update `step` (0 the first); `final` is the share of the peak that the last one comes down to.

    >>> [round(learning_rate(s, 1.0, steps=5, warmup=2), 2) for s in range(5)]
    [0.5, 0.85, 0.5, 0.15, 0.0]
    """
    progress = step / max(1, steps - 1)
    decay = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / max(1, warmup)) * decay
