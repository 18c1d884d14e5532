"""ResNets for small images (He et al. 2016, section 4.2, arXiv:1512.03385) and ResNeXt-29: a 3x3 stem and stages."""

from __future__ import annotations

from typing import Any

from timm.models._registry import register_model
from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import Tensor, nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create, init_convolutions

default_cfgs = cifar_cfgs(
    "conv1",
    *(f"cifar_resnet{depth}" for depth in (8, 14, 20, 26, 32, 44, 56, 110)),
    *("cifar_resnet8x4", "cifar_resnet32x4"),
    *("cifar_resnet18", "cifar_resnet34", "cifar_resnet50"),
    *("cifar_resnet20_x05", "cifar_resnet152", "cifar_plain18", "cifar_plain34"),
    *("cifar_resnext29", "cifar_resnext50_32x4d"),
)

WIDE = (32, 64, 128, 256)
FOUR_STAGES = (64, 64, 128, 256, 512)


class CifarResNet(ChainNetwork):
    """Stages of residual blocks behind a 3x3 convolution, each after the first at twice the stride.

    Args:
        blocks: residual blocks a stage, or for each stage.
        widths: channels of the stem and of the stages, before a bottleneck's expansion.
        bottleneck: timm's bottleneck blocks instead of its basic ones.
        cardinality, base_width: groups of a bottleneck's 3x3 convolution, and channels a group where the width is 64.
        plain: shortcuts only in the first block of the stages that halve the resolution; of basic blocks.
    """

    def __init__(
        self,
        blocks: int | tuple[int, ...],
        widths: tuple[int, ...] = (16, 16, 32, 64),
        bottleneck: bool = False,
        cardinality: int = 1,
        base_width: int = 64,
        plain: bool = False,
        in_chans: int = 3,
        **head: Any,
    ) -> None:
        super().__init__()
        stem, *stages = widths
        block = Bottleneck if bottleneck else BasicBlock
        blocks = (blocks,) * len(stages) if isinstance(blocks, int) else blocks
        self.conv1 = nn.Conv2d(in_chans, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.act1 = nn.ReLU(inplace=True)
        maps, width = {"act1": (stem, 1)}, stem
        for i, (count, planes) in enumerate(zip(blocks, stages, strict=True)):
            stride = 2 if i else 1
            options = dict(cardinality=cardinality, base_width=base_width)
            others = PlainBlock if plain else block
            setattr(self, f"layer{i + 1}", stage(block, others, count, width, planes, stride, **options))
            width = planes * block.expansion
            maps[f"layer{i + 1}"] = (width, 2**i)
        last = "act3" if bottleneck else "act2"
        ends = {f"layer{i + 1}": f"layer{i + 1}.{count - 1}.{last}" for i, count in enumerate(blocks)}
        self.add_head(maps, width, {"act1": "act1", **ends}, **head)
        init_convolutions(self)


class PlainBlock(BasicBlock):
    """timm's basic block without its shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(x)))


def stage(
    first: Any, others: Any, blocks: int, in_width: int, planes: int, stride: int, **options: Any
) -> nn.Sequential:
    """Residual blocks at one resolution; the first may change width and stride, and is then of a kind of its own."""
    width = planes * first.expansion
    changes = stride != 1 or in_width != width
    shortcut = downsample_conv(in_width, width, kernel_size=1, stride=stride) if changes else None
    start = (first if changes else others)(in_width, planes, stride, downsample=shortcut, **options)
    return nn.Sequential(start, *(others(width, planes, **options) for _ in range(blocks - 1)))


@register_model
def cifar_resnet8(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 (He et al. 2016): widths 16/32/64; 83,892 parameters."""
    return create(CifarResNet, "cifar_resnet8", pretrained, **{"blocks": 1, **kwargs})


@register_model
def cifar_resnet14(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-14 (He et al. 2016): widths 16/32/64; 181,108 parameters."""
    return create(CifarResNet, "cifar_resnet14", pretrained, **{"blocks": 2, **kwargs})


@register_model
def cifar_resnet20(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-20 (He et al. 2016): widths 16/32/64; 278,324 parameters."""
    return create(CifarResNet, "cifar_resnet20", pretrained, **{"blocks": 3, **kwargs})


@register_model
def cifar_resnet26(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-26 (He et al. 2016): widths 16/32/64; 375,540 parameters."""
    return create(CifarResNet, "cifar_resnet26", pretrained, **{"blocks": 4, **kwargs})


@register_model
def cifar_resnet32(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-32 (He et al. 2016): widths 16/32/64; 472,756 parameters."""
    return create(CifarResNet, "cifar_resnet32", pretrained, **{"blocks": 5, **kwargs})


@register_model
def cifar_resnet44(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-44 (He et al. 2016): widths 16/32/64; 667,188 parameters."""
    return create(CifarResNet, "cifar_resnet44", pretrained, **{"blocks": 7, **kwargs})


@register_model
def cifar_resnet56(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-56 (He et al. 2016): widths 16/32/64; 861,620 parameters."""
    return create(CifarResNet, "cifar_resnet56", pretrained, **{"blocks": 9, **kwargs})


@register_model
def cifar_resnet110(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-110 (He et al. 2016): widths 16/32/64; 1,736,564 parameters."""
    return create(CifarResNet, "cifar_resnet110", pretrained, **{"blocks": 18, **kwargs})


@register_model
def cifar_resnet8x4(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 with a stem of 32 and widths 64/128/256 (Tian et al. 2020); 1,233,540 parameters."""
    return create(CifarResNet, "cifar_resnet8x4", pretrained, **{"blocks": 1, "widths": WIDE, **kwargs})


@register_model
def cifar_resnet32x4(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-32 with a stem of 32 and widths 64/128/256 (Tian et al. 2020); 7,433,860 parameters."""
    return create(CifarResNet, "cifar_resnet32x4", pretrained, **{"blocks": 5, "widths": WIDE, **kwargs})


@register_model
def cifar_resnet18(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-18 (He et al. 2016) with a 3x3 stem and no pooling after it; 11,220,132 parameters."""
    return create(
        CifarResNet, "cifar_resnet18", pretrained, **{"blocks": (2, 2, 2, 2), "widths": FOUR_STAGES, **kwargs}
    )


@register_model
def cifar_resnet34(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-34 (He et al. 2016) with a 3x3 stem and no pooling after it; 21,328,292 parameters."""
    return create(
        CifarResNet, "cifar_resnet34", pretrained, **{"blocks": (3, 4, 6, 3), "widths": FOUR_STAGES, **kwargs}
    )


@register_model
def cifar_resnet50(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-50 (He et al. 2016) with a 3x3 stem and no pooling after it; 23,705,252 parameters."""
    return create(
        CifarResNet,
        "cifar_resnet50",
        pretrained,
        **{"blocks": (3, 4, 6, 3), "widths": FOUR_STAGES, "bottleneck": True, **kwargs},
    )


@register_model
def cifar_resnext29(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNeXt-29, 8x64d (Xie et al. 2017, arXiv:1611.05431): 8 groups of 64/128/256; 34,518,948 parameters."""
    model = {"blocks": 3, "widths": FOUR_STAGES[:4], "bottleneck": True, "cardinality": 8}
    return create(CifarResNet, "cifar_resnext29", pretrained, **{**model, **kwargs})


@register_model
def cifar_resnet20_x05(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-20 at half the width, 8/16/32; 71,756 parameters."""
    return create(CifarResNet, "cifar_resnet20_x05", pretrained, **{"blocks": 3, "widths": (8, 8, 16, 32), **kwargs})


@register_model
def cifar_resnet152(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-152 (He et al. 2016) with a 3x3 stem and no pooling after it; 58,341,028 parameters."""
    model = {"blocks": (3, 8, 36, 3), "widths": FOUR_STAGES, "bottleneck": True}
    return create(CifarResNet, "cifar_resnet152", pretrained, **{**model, **kwargs})


@register_model
def cifar_resnext50_32x4d(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNeXt-50, 32x4d (Xie et al. 2017), with a 3x3 stem and no pooling after it; 23,177,124 parameters."""
    model = {"blocks": (3, 4, 6, 3), "widths": FOUR_STAGES, "bottleneck": True, "cardinality": 32, "base_width": 4}
    return create(CifarResNet, "cifar_resnext50_32x4d", pretrained, **{**model, **kwargs})


@register_model
def cifar_plain18(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-18 with shortcuts only where stages begin (Li et al. 2020, JointRD); 11,220,132 parameters."""
    model = {"blocks": (2, 2, 2, 2), "widths": FOUR_STAGES, "plain": True}
    return create(CifarResNet, "cifar_plain18", pretrained, **{**model, **kwargs})


@register_model
def cifar_plain34(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-34 with shortcuts only where stages begin (Li et al. 2020, JointRD); 21,328,292 parameters."""
    model = {"blocks": (3, 4, 6, 3), "widths": FOUR_STAGES, "plain": True}
    return create(CifarResNet, "cifar_plain34", pretrained, **{**model, **kwargs})
