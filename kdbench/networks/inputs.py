"""What a network sees where its input size or normalisation is not the suite's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.tables import Data, Model


class OwnInput(nn.Module):
    """Images normalised for the suite (B, C, H, W), resized and normalised for one network.

    Normalisation as in timm's distillation tasks; the resizing is bicubic, with antialiasing where it shrinks.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, data: Data, model: Model) -> None:
        super().__init__()
        self.size = model.input_size or data.image_size
        mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
        own_mean = torch.tensor(model.mean or data.mean)[:, None, None]
        own_std = torch.tensor(model.std or data.std)[:, None, None]
        self.register_buffer("scale", std / own_std, persistent=False)
        self.register_buffer("shift", (mean - own_mean) / own_std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        images = images * self.scale + self.shift
        if images.shape[-2:] == self.size:
            return images
        return F.interpolate(images, self.size, mode="bicubic", antialias=True)


def own_input(data: Data, model: Model) -> nn.Module:
    """What stands before a network of the suite: nothing, unless its specification says so."""
    differs = (
        model.input_size not in (None, data.image_size)
        or model.mean not in (None, data.mean)
        or model.std not in (None, data.std)
    )
    return OwnInput(data, model) if differs else nn.Identity()


def as_seen(network: nn.Module, images: Tensor) -> Tensor:
    """Images as a network sees them; those of a model outside a suite as they are."""
    before = getattr(network, "own_input", None)
    return images if before is None else before(images)
