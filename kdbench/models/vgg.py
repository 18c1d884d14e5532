"""VGG with batch norm for small images (Simonyan and Zisserman 2015, arXiv:1409.1556): one linear layer at the end."""

from __future__ import annotations

from typing import Any

from timm.models._registry import register_model
from torch import nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create, init_classifier, init_convolutions

default_cfgs = cifar_cfgs("layer1.0", *(f"cifar_vgg{depth}" for depth in (8, 11, 13, 16, 19)))


class CifarVGG(ChainNetwork):
    """Five stages of 3x3 convolutions at strides 1, 2, 4, 8 and 8; the maps are those before the pooling.

    The first one counts as the stem, as in the literature's code.

    Args:
        convolutions: how many in each stage.
        width: channels of the first stage; the others have 2, 4, 8 and 8 times as many.
    """

    def __init__(
        self, convolutions: tuple[int, int, int, int, int], width: int = 64, in_chans: int = 3, **head: Any
    ) -> None:
        super().__init__()
        maps, in_width, stride = {}, in_chans, 1
        for i, (count, times) in enumerate(zip(convolutions, (1, 2, 4, 8, 8), strict=True)):
            out_width = times * width
            layers: list[nn.Module] = []
            if i in (1, 2, 3):
                layers.append(nn.MaxPool2d(2))
                stride *= 2
            for _ in range(count):
                convolution = nn.Conv2d(in_width, out_width, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(out_width), nn.ReLU(inplace=True)]
                in_width = out_width
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
            maps[f"layer{i + 1}"] = (out_width, stride)
        ends = {name: f"{name}.{len(getattr(self, name)) - 1}" for name in maps}
        self.add_head(maps, in_width, ends, **head)
        init_convolutions(self)
        init_classifier(self.fc, std=0.01)


@register_model
def cifar_vgg8(pretrained: bool = False, **kwargs: Any) -> CifarVGG:
    """VGG-8 (Tian et al. 2020) with batch norm and one linear layer; 3,965,028 parameters."""
    return create(CifarVGG, "cifar_vgg8", pretrained, **{"convolutions": (1, 1, 1, 1, 1), **kwargs})


@register_model
def cifar_vgg11(pretrained: bool = False, **kwargs: Any) -> CifarVGG:
    """VGG-11 (Simonyan and Zisserman 2015) with batch norm and one linear layer; 9,277,284 parameters."""
    return create(CifarVGG, "cifar_vgg11", pretrained, **{"convolutions": (1, 1, 2, 2, 2), **kwargs})


@register_model
def cifar_vgg13(pretrained: bool = False, **kwargs: Any) -> CifarVGG:
    """VGG-13 (Simonyan and Zisserman 2015) with batch norm and one linear layer; 9,462,180 parameters."""
    return create(CifarVGG, "cifar_vgg13", pretrained, **{"convolutions": (2, 2, 2, 2, 2), **kwargs})


@register_model
def cifar_vgg16(pretrained: bool = False, **kwargs: Any) -> CifarVGG:
    """VGG-16 (Simonyan and Zisserman 2015) with batch norm and one linear layer; 14,774,436 parameters."""
    return create(CifarVGG, "cifar_vgg16", pretrained, **{"convolutions": (2, 2, 3, 3, 3), **kwargs})


@register_model
def cifar_vgg19(pretrained: bool = False, **kwargs: Any) -> CifarVGG:
    """VGG-19 (Simonyan and Zisserman 2015) with batch norm and one linear layer; 20,086,692 parameters."""
    return create(CifarVGG, "cifar_vgg19", pretrained, **{"convolutions": (2, 2, 4, 4, 4), **kwargs})
