"""The dynamic reference: a slow copy of the policy that the KL is measured against.

    pi_ref <- decay * pi_ref + (1 - decay) * pi    after every update (T1, section on reinforcement learning)

A frozen reference (decay 1) holds the policy near its SFT start for ever. One that follows is to let it go on
while still damping each stretch of the way: with decay 0.99 it remembers about the last 100 updates (after
the tiny run's 70, half of it is still the SFT model). Decay 0 makes it the policy itself, and the KL
vanishes; moved only every 20 updates (--ema-every), it is then a frozen one that is reset.

The copy stays in float32 whatever the policy computes in. In bfloat16, with 8 bits of mantissa, a step of 1%
of the difference is mostly rounded away and the reference would stand still.

See its fixed points: python -m pytest tests/test_reference.py
"""

import contextlib
import copy
from typing import Iterable, Iterator

import torch
from torch import Tensor, nn


@torch.no_grad()
def ema_update(ref_parameters: Iterable[Tensor], parameters: Iterable[Tensor], decay: float):
    """ref <- decay * ref + (1 - decay) * parameter, in place, for each pair. ValueError beyond 0 ... 1.

    >>> ref = [torch.tensor([1.0])]; ema_update(ref, [torch.tensor([3.0])], decay=0.75); ref
    [tensor([1.5000])]
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be between 0 and 1, got {decay}")
    for ref, parameter in zip(ref_parameters, parameters, strict=True):
        ref.lerp_(parameter.to(ref.device, ref.dtype), 1 - decay)


class EMAReference:
    """`.model` is the reference: float32, without gradients, on device `home`, moved by `.update(policy)`."""

    def __init__(self, model: nn.Module, decay: float, home: str | torch.device | None = None):
        self.decay, self.home = decay, home
        self.model = copy.deepcopy(model).to(home, torch.float32).requires_grad_(False).eval()

    @contextlib.contextmanager
    def on(self, device: str | torch.device) -> Iterator[nn.Module]:
        """The model, brought to `device` while the block runs."""
        yield self.model.to(device)
        self.model.to(self.home)

    def update(self, model: nn.Module):
        ema_update(self.model.parameters(), model.parameters(), self.decay)
