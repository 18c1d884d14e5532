"""The plain convolutional network by which the literature on dataset distillation makes and tests its images."""

from __future__ import annotations

from typing import Any

from timm.models._registry import register_model
from torch import nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create

default_cfgs = cifar_cfgs("layer1.0", "cifar_convnet3")


class ConvNet(ChainNetwork):
    """Blocks of a 3 x 3 convolution, instance norm, ReLU and average pooling; one linear layer on all that is left.

    The first block counts as the stem; the maps are those before the pooling. Weights are PyTorch's own, as there.
    Source: Zhao et al. 2021, arXiv:2006.05929; VICO-UoE/DatasetCondensation, networks.py, 53f63a6.

    Args:
        depth: blocks.
        width: channels of each.
        img_size: height and width of the images, which the linear layer depends on.
    """

    def __init__(self, depth: int = 3, width: int = 128, img_size: int = 32, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        channels = in_chans
        for n in range(1, depth + 1):
            pool = [] if n == 1 else [nn.AvgPool2d(2)]
            norm = nn.GroupNorm(width, width)  # a group a channel: instance norm, with a weight and a bias each
            block = [*pool, nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU(inplace=True)]
            setattr(self, f"layer{n}", nn.Sequential(*block))
            channels = width
        features = width * (img_size // 2**depth) ** 2
        self.flat = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Unflatten(1, (features, 1, 1)))
        maps = {f"layer{n}": (width, 2 ** (n - 1)) for n in range(1, depth + 1)}
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}" for name in maps}
        self.add_head(maps, features, ends, **head)


@register_model
def cifar_convnet3(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """ConvNet of three blocks of 128 channels, for 32 x 32 images."""
    return create(ConvNet, "cifar_convnet3", pretrained, **kwargs)
