"""What methods on feature maps share: maps of one size, and batch norm that takes any batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def to_smaller(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two (B, C, H, W) maps, each averaged to the smaller height and width of both."""
    size = min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3])
    return averaged(one, size), averaged(other, size)


def averaged(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """A (B, C, H, W) map of this height and width."""
    return feature if feature.shape[2:] == size else F.adaptive_avg_pool2d(feature, size)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of (B, C) or (B, C, H, W); one value a channel has no variance and takes the running statistics."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, as in PyTorch
        if self.training and input.numel() == self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002, as in PyTorch
        """Any number of dimensions."""
