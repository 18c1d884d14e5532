"""A weight that grows over the first epochs."""

from __future__ import annotations

import torch
from torch import Tensor


def ramp(epoch: Tensor, epochs: int) -> Tensor:
    """From exp(-5) in epoch 0 to 1 in epoch `epochs`: exp(-5 (1 - epoch / epochs)^2)."""
    return torch.exp(-5 * (1 - epoch / epochs).clamp(min=0).square())
