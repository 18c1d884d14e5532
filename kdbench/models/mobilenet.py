"""MobileNets for small images (Howard et al. 2017, arXiv:1704.04861; Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

from typing import Any

from timm.layers import ConvNormAct
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual
from timm.models._registry import register_model
from torch import nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create, init_classifier, init_convolutions

default_cfgs = cifar_cfgs("conv1.conv", "cifar_mobilenetv1", "cifar_mobilenetv2")


class CifarMobileNetV1(ChainNetwork):
    """Thirteen depthwise separable convolutions at strides 1 to 16, behind a stem of stride 1."""

    def __init__(self, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_chans, 32, 3)
        maps, width = {"conv1": (32, 1)}, 32
        for i, blocks in enumerate((1, 2, 2, 6, 2)):
            layers = []
            for j in range(blocks):
                stride = 2 if i and not j else 1
                layers.append(DepthwiseSeparableConv(width, 64 * 2**i, stride=stride, noskip=True, pw_act=True))
                width = 64 * 2**i
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
            maps[f"layer{i + 1}"] = (width, 2**i)
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}.bn2.act" for name in maps if name != "conv1"}
        self.add_head(maps, width, {"conv1": "conv1.bn.act", **ends}, **head)


class CifarMobileNetV2(ChainNetwork):
    """Inverted residuals with ReLU at strides 2 to 16 behind a stem of stride 2: no map is as large as the input.

    Args:
        expansion: channels inside a block over channels before it, but in the first block.
        factor: of all widths but the 1280 at the end; 8 must divide the blocks' inner widths.
    """

    def __init__(self, expansion: int = 6, factor: float = 0.5, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        width = int(32 * factor)
        self.conv1 = ConvNormAct(in_chans, width, 3, stride=2)
        maps = {"conv1": (width, 2)}
        stages = (  # groups of blocks: expansion, width, blocks, stride
            ((1, 16, 1, 1), (expansion, 24, 2, 1)),
            ((expansion, 32, 3, 2),),
            ((expansion, 64, 4, 2), (expansion, 96, 3, 1)),
            ((expansion, 160, 3, 2), (expansion, 320, 1, 1)),
        )
        for i, groups in enumerate(stages):
            layers = []
            for ratio, channels, blocks, stride in groups:
                for j in range(blocks):
                    in_width, width = width, int(channels * factor)
                    layers.append(InvertedResidual(in_width, width, stride=1 if j else stride, exp_ratio=ratio))
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
            maps[f"layer{i + 1}"] = (width, 2 ** (i + 1))
        self.conv2 = ConvNormAct(width, 1280, 1)
        self.add_head(maps, 1280, {"conv1": "conv1.bn.act", **dict.fromkeys(list(maps)[1:])}, **head)
        init_convolutions(self)
        init_classifier(self.fc, std=0.01)


@register_model
def cifar_mobilenetv1(pretrained: bool = False, **kwargs: Any) -> CifarMobileNetV1:
    """MobileNet (Howard et al. 2017) at full width with a stem of stride 1; 3,309,476 parameters."""
    return create(CifarMobileNetV1, "cifar_mobilenetv1", pretrained, **kwargs)


@register_model
def cifar_mobilenetv2(pretrained: bool = False, **kwargs: Any) -> CifarMobileNetV2:
    """MobileNetV2 (Sandler et al. 2018) at half the width, expansion 6 (Tian et al. 2020); 812,836 parameters."""
    return create(CifarMobileNetV2, "cifar_mobilenetv2", pretrained, **kwargs)
