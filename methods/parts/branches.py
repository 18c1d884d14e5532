"""Branches from a network's maps to logits of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from kdbench_methods.parts.layers import BatchNorm

Shape = tuple[int, int, int]  # (C, H, W)


class Branch(nn.Module):
    """A residual block, initialised as a ResNet's, the mean of its map, and a classifier.

    Args:
        low, high: (C, H, W) of the map that it takes, and of the one that it makes.
    """

    def __init__(self, low: tuple[int, int, int], high: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        stride = max(1, round(low[1] / high[1]))
        self.block = nn.Sequential(
            nn.Conv2d(low[0], high[0], 3, stride, padding=1, bias=False),
            BatchNorm(high[0]),
            nn.ReLU(),
            nn.Conv2d(high[0], high[0], 3, padding=1, bias=False),
            BatchNorm(high[0]),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(low[0], high[0], 1, stride, bias=False), BatchNorm(high[0]))
        self.classifier = nn.Linear(high[0], num_classes)
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def embedding(self, feature: Tensor) -> Tensor:
        """The mean of its map, (B, C)."""
        return (self.block(feature) + self.shortcut(feature)).relu().mean(dim=(2, 3))

    def forward(self, feature: Tensor) -> Tensor:
        return self.classifier(self.embedding(feature))


class Branches(nn.ModuleList):
    """Several of them, each registered: a list whose items a type checker knows."""

    def __init__(self, branches: Iterable[Branch]) -> None:
        super().__init__(branches)

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Branch]: ...


class LongBranch(nn.Sequential):
    """Pre-activation residual blocks from a map by way of others, a batch norm, the mean of the map, and a classifier.

    Args:
        shapes: (C, H, W) of the map that it takes, and of those that it makes one after the other.
        blocks: how many blocks make each.
    """

    def __init__(self, shapes: Sequence[Shape], blocks: Sequence[int], num_classes: int) -> None:
        layers: list[nn.Module] = []
        for (low, high), count in zip(pairwise(shapes), blocks, strict=True):
            layers.append(PreActivationBlock(low[0], high[0], max(1, round(low[1] / high[1]))))
            layers += [PreActivationBlock(high[0], high[0]) for _ in range(count - 1)]
        width = shapes[-1][0]
        end = (BatchNorm(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
        super().__init__(*layers, *end)


class PreActivationBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and ReLU; a shortcut that changes shape starts after the first."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.norm1, self.norm2 = BatchNorm(in_channels), BatchNorm(channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        changes = stride != 1 or in_channels != channels
        self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False) if changes else None
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight)

    def forward(self, feature: Tensor) -> Tensor:
        active = self.norm1(feature).relu()
        residual = self.conv2(self.norm2(self.conv1(active)).relu())
        return residual + (feature if self.shortcut is None else self.shortcut(active))
