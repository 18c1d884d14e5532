"""ShuffleNets for small images (Zhang et al. 2018, arXiv:1707.01083; Ma et al. 2018, arXiv:1807.11164)."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import ConvNormAct
from timm.models._registry import register_model
from torch import Tensor, nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create

STEM = 24
default_cfgs = cifar_cfgs("conv1.conv", "cifar_shufflenetv1", "cifar_shufflenetv2")


class CifarShuffleNetV1(ChainNetwork):
    """Three stages of grouped bottlenecks at strides 2, 4 and 8, behind a 1x1 stem.

    Args:
        widths: channels of the stages.
        groups: of the 1x1 convolutions.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (240, 480, 960),
        groups: int = 3,
        in_chans: int = 3,
        **head: Any,
    ) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_chans, STEM, 1)
        maps, in_width = {"conv1": (STEM, 1)}, STEM
        for i, (blocks, width) in enumerate(zip((4, 8, 4), widths, strict=True)):
            first = GroupedBottleneck(in_width, width, 1 if i == 0 else groups, groups, stride=2)
            others = (GroupedBottleneck(width, width, groups, groups) for _ in range(blocks - 1))
            setattr(self, f"layer{i + 1}", nn.Sequential(first, *others))
            maps[f"layer{i + 1}"] = (width, 2 ** (i + 1))
            in_width = width
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}.act" for name in maps if name != "conv1"}
        self.add_head(maps, in_width, {"conv1": "conv1.bn.act", **ends}, **head)


class GroupedBottleneck(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; added to the input or, at stride 2, beside the pooled input."""

    def __init__(self, in_width: int, width: int, in_groups: int, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.in_groups = in_groups
        made = width - in_width if stride == 2 else width
        inner = made // 4
        self.conv1 = ConvNormAct(in_width, inner, 1, groups=in_groups)
        self.conv2 = ConvNormAct(inner, inner, 3, stride=stride, groups=inner)
        self.conv3 = ConvNormAct(inner, made, 1, groups=groups, apply_act=False)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv3(self.conv2(shuffle(self.conv1(x), self.in_groups)))
        return self.act(residual + x if self.pool is None else torch.cat([residual, self.pool(x)], dim=1))


class CifarShuffleNetV2(ChainNetwork):
    """Three stages of split units at strides 2, 4 and 8 behind a 1x1 stem, and a last 1x1 convolution.

    Args:
        widths: channels of the stages and of the last convolution.
    """

    def __init__(
        self, widths: tuple[int, int, int, int] = (116, 232, 464, 1024), in_chans: int = 3, **head: Any
    ) -> None:
        super().__init__()
        *stages, last = widths
        self.conv1 = ConvNormAct(in_chans, STEM, 1)
        maps, in_width = {"conv1": (STEM, 1)}, STEM
        for i, (units, width) in enumerate(zip((3, 7, 3), stages, strict=True)):
            layers = nn.Sequential(DownUnit(in_width, width), *(SplitUnit(width) for _ in range(units)))
            setattr(self, f"layer{i + 1}", layers)
            maps[f"layer{i + 1}"] = (width, 2 ** (i + 1))
            in_width = width
        self.conv2 = ConvNormAct(in_width, last, 1)
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}.act" for name in maps if name != "conv1"}
        self.add_head(maps, last, {"conv1": "conv1.bn.act", **ends}, **head)


class SplitUnit(nn.Module):
    """Half of the channels pass, half are convolved; then the halves are mixed.

    The last ReLU sees both halves, so that its input is the unit's output before it; those that pass are positive.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = branch(width // 2, width // 2, last_act=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, dim=1)
        return self.act(shuffle(torch.cat([kept, self.branch(changed)], dim=1), 2))


class DownUnit(nn.Module):
    """Two branches of stride 2, each making half of the channels; then the halves are mixed."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.short = nn.Sequential(
            ConvNormAct(in_width, in_width, 3, stride=2, groups=in_width, apply_act=False),
            ConvNormAct(in_width, half, 1),
        )
        self.branch = branch(in_width, half, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return shuffle(torch.cat([self.short(x), self.branch(x)], dim=1), 2)


def branch(in_width: int, width: int, stride: int = 1, last_act: bool = True) -> nn.Sequential:
    """1x1, depthwise 3x3 without activation, 1x1."""
    return nn.Sequential(
        ConvNormAct(in_width, width, 1),
        ConvNormAct(width, width, 3, stride=stride, groups=width, apply_act=False),
        ConvNormAct(width, width, 1, apply_act=last_act),
    )


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group out in turn."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


@register_model
def cifar_shufflenetv1(pretrained: bool = False, **kwargs: Any) -> CifarShuffleNetV1:
    """ShuffleNet (Zhang et al. 2018) with three groups and a stem of stride 1; 949,258 parameters."""
    return create(CifarShuffleNetV1, "cifar_shufflenetv1", pretrained, **kwargs)


@register_model
def cifar_shufflenetv2(pretrained: bool = False, **kwargs: Any) -> CifarShuffleNetV2:
    """ShuffleNetV2 (Ma et al. 2018) at full width with a stem of stride 1; 1,355,528 parameters."""
    return create(CifarShuffleNetV2, "cifar_shufflenetv2", pretrained, **kwargs)
