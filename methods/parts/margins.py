"""What the methods share that compare maps before their ReLU up to a margin (Heo et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class WithMargins(WithKD):
    """Base: the margin of a channel, its mean over negative values, is measured over all batches so far."""

    def make_margins(self, channels: Iterable[int]) -> None:
        """In `build`: of so many channels each, one for every map of the teacher that has margins."""
        for i, count in enumerate(channels):
            self.register_buffer(f"negative_sum_{i}", torch.zeros(count))
            self.register_buffer(f"negative_count_{i}", torch.zeros(count))

    @torch.no_grad()
    def margin(self, i: int, teacher_map: Tensor) -> Tensor:
        """(C, 1, 1): mean of each channel's negative values, in this batch and all before."""
        total, count = getattr(self, f"negative_sum_{i}"), getattr(self, f"negative_count_{i}")
        total += teacher_map.clamp(max=0).sum(dim=(0, 2, 3))
        count += (teacher_map < 0).sum(dim=(0, 2, 3))
        return (total / count.clamp(min=1))[:, None, None]


def partial_distance(student: Tensor, target: Tensor) -> Tensor:
    """Squared difference of (B, C, H, W) maps but where student <= target <= 0: summed, averaged over the batch."""
    low = (student <= target) & (target <= 0)
    return (student - target).square().masked_fill(low, 0).sum() / len(student)


def connector(in_channels: int, channels: int) -> nn.Sequential:
    """A 1 x 1 convolution, initialised as the authors do, and batch norm."""
    conv = nn.Conv2d(in_channels, channels, 1, bias=False)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / channels))
    return nn.Sequential(conv, BatchNorm(channels))
