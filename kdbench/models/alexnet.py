"""AlexNet for small images: five convolutions and one linear layer, as the literature on CIFAR has it."""

from __future__ import annotations

from typing import Any

from timm.models._registry import register_model
from torch import nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create

default_cfgs = cifar_cfgs("layer1.0", "cifar_alexnet")


class CifarAlexNet(ChainNetwork):
    """Convolutions at strides 4, 8 and three times 16, without batch norm, and the largest value of each channel.

    The first counts as the stem; the maps are those before the pooling.
    """

    def __init__(self, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(in_chans, 64, 11, stride=4, padding=5), nn.ReLU(inplace=True))
        self.layer2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True))
        self.layer3 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True))
        self.layer4 = nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True))
        self.layer5 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True))
        maps = {"layer1": (64, 4), "layer2": (192, 8), "layer3": (384, 16), "layer4": (256, 16), "layer5": (256, 16)}
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}" for name in maps}
        self.add_head(maps, 256, ends, **{"global_pool": "max", **head})

    def reset_classifier(self, num_classes: int, global_pool: str = "max") -> None:
        super().reset_classifier(num_classes, global_pool)


@register_model
def cifar_alexnet(pretrained: bool = False, **kwargs: Any) -> CifarAlexNet:
    """AlexNet (Krizhevsky 2014, arXiv:1404.5997) for 32 x 32 images, with one linear layer; 2,495,396 parameters."""
    return create(CifarAlexNet, "cifar_alexnet", pretrained, **kwargs)
