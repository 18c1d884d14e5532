"""ResNets for small images (He et al. 2016, section 4.2): a 3x3 stem and three stages at strides 1, 2 and 4."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import create_classifier
from timm.models._builder import build_model_with_cfg
from timm.models._features import feature_take_indices
from timm.models._registry import generate_default_cfgs, register_model
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn

default_cfgs = generate_default_cfgs(
    {"cifar_resnet8": dict(input_size=(3, 32, 32), num_classes=100, first_conv="conv1", classifier="fc")}
)


class CifarResNet(nn.Module):
    """Three stages of basic blocks behind a 3x3 convolution; depth = 6 * blocks + 2.

    Args:
        blocks: residual blocks a stage.
        widths: channels of the stem and of the three stages.
    """

    def __init__(
        self,
        blocks: int,
        widths: tuple[int, int, int, int] = (16, 16, 32, 64),
        num_classes: int = 10,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features = self.head_hidden_size = widths[-1]
        self.grad_checkpointing = False
        self.conv1 = nn.Conv2d(in_chans, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.act1 = nn.ReLU(inplace=True)
        self.layer1 = stage(blocks, widths[0], widths[1], stride=1)
        self.layer2 = stage(blocks, widths[1], widths[2], stride=2)
        self.layer3 = stage(blocks, widths[2], widths[3], stride=2)
        self.feature_info = [dict(num_chs=widths[0], reduction=1, module="act1")] + [
            dict(num_chs=width, reduction=2**i, module=f"layer{i + 1}") for i, width in enumerate(widths[1:])
        ]
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=global_pool)
        self.head_drop = nn.Dropout(drop_rate)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=global_pool)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """timm's interface: the maps after the stem and after each stage."""
        if output_fmt != "NCHW":
            raise ValueError("A CifarResNet's maps are NCHW.")
        take, _ = feature_take_indices(len(self.feature_info), indices)
        x = self.act1(self.bn1(self.conv1(x)))
        maps = [x]
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
            maps.append(x)
        taken = [maps[i] for i in take]
        return taken if intermediates_only else (x, taken)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        if enable:
            raise ValueError("A CifarResNet is too small for gradient checkpointing.")


def stage(blocks: int, in_width: int, width: int, stride: int) -> nn.Sequential:
    """Residual blocks at one resolution; the first one changes width and stride."""
    changes = stride != 1 or in_width != width
    shortcut = downsample_conv(in_width, width, kernel_size=1, stride=stride) if changes else None
    first = BasicBlock(in_width, width, stride, downsample=shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))


def create_cifar_resnet(variant: str, pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """Build through timm's builder, so that its arguments (`num_classes`, `in_chans`, ...) work."""
    return build_model_with_cfg(CifarResNet, variant, pretrained, **kwargs)


@register_model
def cifar_resnet8(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8: one block a stage, widths 16/32/64; 83,892 parameters at 3 x 32 x 32 and 100 classes."""
    return create_cifar_resnet("cifar_resnet8", pretrained, **{"blocks": 1, **kwargs})
