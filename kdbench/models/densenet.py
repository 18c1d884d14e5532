"""DenseNets for small images (Huang et al. 2017, arXiv:1608.06993), without bottlenecks and compression."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import BatchNormAct2d
from timm.models._registry import register_model
from timm.models.densenet import DenseTransition
from torch import Tensor, nn

from kdbench.models.base import ChainNetwork, cifar_cfgs, create, init_classifier, init_convolutions

default_cfgs = cifar_cfgs("conv1", "cifar_densenet_40_12")


class CifarDenseNet(ChainNetwork):
    """Three dense blocks at strides 1, 2 and 4 behind a stem of 16 channels; the maps are those before a transition.

    Args:
        depth: layers of the three blocks + 4.
        growth: channels that each layer adds.
    """

    def __init__(self, depth: int, growth: int, in_chans: int = 3, **head: Any) -> None:
        super().__init__()
        layers, rest = divmod(depth - 4, 3)
        if rest or layers < 1:
            raise ValueError(f"The depth of a CifarDenseNet is 3n + 4, not {depth}.")
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        maps, width = {"conv1": (16, 1)}, 16
        for i in range(3):
            modules: list[nn.Module] = [DenseTransition(width, width)] if i else []
            modules += [DenseLayer(width + j * growth, growth) for j in range(layers)]
            width += layers * growth
            setattr(self, f"layer{i + 1}", nn.Sequential(*modules))
            maps[f"layer{i + 1}"] = (width, 2**i)
        self.norm = BatchNormAct2d(width)
        after = {"conv1": "layer1.0.norm", "layer1": "layer2.0.norm", "layer2": "layer3.0.norm", "layer3": "norm"}
        self.add_head(maps, width, {name: f"{norm}.act" for name, norm in after.items()}, **head)
        init_convolutions(self)
        init_classifier(self.fc)


class DenseLayer(nn.Module):
    """Norm, ReLU and a 3x3 convolution whose channels are put behind those of its input."""

    def __init__(self, in_width: int, growth: int) -> None:
        super().__init__()
        self.norm = BatchNormAct2d(in_width)
        self.conv = nn.Conv2d(in_width, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.norm(x))], dim=1)


@register_model
def cifar_densenet_40_12(pretrained: bool = False, **kwargs: Any) -> CifarDenseNet:
    """DenseNet (Huang et al. 2017) of 40 layers, growth 12: widths 160/304/448; 1,060,132 parameters."""
    return create(CifarDenseNet, "cifar_densenet_40_12", pretrained, **{"depth": 40, "growth": 12, **kwargs})
