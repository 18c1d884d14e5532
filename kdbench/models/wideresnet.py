"""Wide ResNets (Zagoruyko and Komodakis 2016, arXiv:1605.07146): batch norm and ReLU before each convolution."""

from __future__ import annotations

from typing import Any

from timm.layers import BatchNormAct2d
from timm.models._registry import register_model
from torch import Tensor, nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create, init_classifier, init_convolutions

SIZES = ((16, 1), (16, 2), (16, 4), (16, 8), (28, 2), (28, 4), (28, 10), (40, 1), (40, 2), (40, 4))
default_cfgs = cifar_cfgs("conv1", *(f"cifar_wrn_{depth}_{factor}" for depth, factor in SIZES))


class WideResNet(ChainNetwork):
    """Three stages at strides 1, 2 and 4, widths 16, 32 and 64 times a factor; the maps are what the next stage sees.

    Args:
        depth: convolutions and classifier along the longest path; 6 blocks + 4.
        factor: of the stages' widths; that of the stem stays 16.
    """

    def __init__(self, depth: int, factor: int, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"The depth of a WideResNet is 6n + 4, not {depth}.")
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        maps, width = {"conv1": (16, 1)}, 16
        for i in range(3):
            name, in_width, width = f"layer{i + 1}", width, 2**i * 16 * factor
            first = PreActivationBlock(in_width, width, stride=2 if i else 1)
            setattr(self, name, nn.Sequential(first, *(PreActivationBlock(width, width) for _ in range(blocks - 1))))
            maps[name] = (width, 2**i)
        self.norm = BatchNormAct2d(width)
        after = {"conv1": "layer1.0.norm1", "layer1": "layer2.0.norm1", "layer2": "layer3.0.norm1", "layer3": "norm"}
        self.add_head(maps, width, {name: f"{norm}.act" for name, norm in after.items()}, **head)
        init_convolutions(self)
        init_classifier(self.fc)


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and ReLU; a shortcut that changes the width starts after the first ReLU.

    timm's `PreActBasic` in the order of the authors' parameters, with a projection only where the width changes.
    """

    def __init__(self, in_width: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = BatchNormAct2d(in_width)
        self.conv1 = nn.Conv2d(in_width, width, 3, stride, padding=1, bias=False)
        self.norm2 = BatchNormAct2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(in_width, width, 1, stride, bias=False) if in_width != width else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.norm1(x)
        residual = self.conv2(self.norm2(self.conv1(active)))
        return residual + (x if self.shortcut is None else self.shortcut(active))


@register_model
def cifar_wrn_16_1(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-16-1 (Zagoruyko and Komodakis 2016): widths 16/32/64; 180,916 parameters."""
    return create(WideResNet, "cifar_wrn_16_1", pretrained, **{"depth": 16, "factor": 1, **kwargs})


@register_model
def cifar_wrn_16_2(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-16-2 (Zagoruyko and Komodakis 2016): widths 32/64/128; 703,284 parameters."""
    return create(WideResNet, "cifar_wrn_16_2", pretrained, **{"depth": 16, "factor": 2, **kwargs})


@register_model
def cifar_wrn_16_4(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-16-4 (Zagoruyko and Komodakis 2016): widths 64/128/256; 2,772,020 parameters."""
    return create(WideResNet, "cifar_wrn_16_4", pretrained, **{"depth": 16, "factor": 4, **kwargs})


@register_model
def cifar_wrn_16_8(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-16-8 (Zagoruyko and Komodakis 2016): widths 128/256/512; 11,007,540 parameters."""
    return create(WideResNet, "cifar_wrn_16_8", pretrained, **{"depth": 16, "factor": 8, **kwargs})


@register_model
def cifar_wrn_28_2(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-28-2 (Zagoruyko and Komodakis 2016): widths 32/64/128; 1,479,220 parameters."""
    return create(WideResNet, "cifar_wrn_28_2", pretrained, **{"depth": 28, "factor": 2, **kwargs})


@register_model
def cifar_wrn_28_4(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-28-4 (Zagoruyko and Komodakis 2016): widths 64/128/256; 5,872,180 parameters."""
    return create(WideResNet, "cifar_wrn_28_4", pretrained, **{"depth": 28, "factor": 4, **kwargs})


@register_model
def cifar_wrn_28_10(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-28-10 (Zagoruyko and Komodakis 2016): widths 160/320/640; 36,536,884 parameters."""
    return create(WideResNet, "cifar_wrn_28_10", pretrained, **{"depth": 28, "factor": 10, **kwargs})


@register_model
def cifar_wrn_40_1(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-40-1 (Zagoruyko and Komodakis 2016): widths 16/32/64; 569,780 parameters."""
    return create(WideResNet, "cifar_wrn_40_1", pretrained, **{"depth": 40, "factor": 1, **kwargs})


@register_model
def cifar_wrn_40_2(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-40-2 (Zagoruyko and Komodakis 2016): widths 32/64/128; 2,255,156 parameters."""
    return create(WideResNet, "cifar_wrn_40_2", pretrained, **{"depth": 40, "factor": 2, **kwargs})


@register_model
def cifar_wrn_40_4(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """WRN-40-4 (Zagoruyko and Komodakis 2016): widths 64/128/256; 8,972,340 parameters."""
    return create(WideResNet, "cifar_wrn_40_4", pretrained, **{"depth": 40, "factor": 4, **kwargs})
