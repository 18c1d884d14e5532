"""Layers that several methods bring."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that normalises a single value a channel (one image, a 1 x 1 map) by its running statistics."""

    def forward(self, feature: Tensor) -> Tensor:
        if self.training and feature.numel() == feature.shape[1]:
            return F.batch_norm(feature, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(feature)


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two (B, C, H, W) maps, the larger one averaged to the size of the smaller."""
    size = (min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3]))
    return F.adaptive_avg_pool2d(one, size), F.adaptive_avg_pool2d(other, size)
