"""What a network sees where its modality, input size or normalisation is not the suite's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.networks.modalities import MODALITIES
from kdbench.tables import Data, Model


class OwnInput(nn.Module):
    """Images normalised for the suite (B, C, H, W), in the modality of one network, resized and normalised for it.

    Normalisation as in timm's distillation tasks; the resizing is bicubic, with antialiasing where it shrinks. What
    another modality leaves of an image is in all channels alike.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, data: Data, model: Model) -> None:
        super().__init__()
        self.size = model.input_size or data.image_size
        self.modality = MODALITIES[model.modality] if model.modality else None
        mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
        own_mean = torch.tensor(model.mean or data.mean)[:, None, None]
        own_std = torch.tensor(model.std or data.std)[:, None, None]
        self.register_buffer("scale", std / own_std, persistent=False)
        self.register_buffer("shift", (mean - own_mean) / own_std, persistent=False)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.modality:
            seen = self.modality(images * self.std + self.mean)
            images = ((seen - self.mean) / self.std).expand_as(images)
        images = images * self.scale + self.shift
        if images.shape[-2:] == self.size:
            return images
        return F.interpolate(images, self.size, mode="bicubic", antialias=True)


def own_input(data: Data, model: Model) -> nn.Module:
    """What stands before a network of the suite: nothing, unless its specification says so."""
    differs = (
        model.modality is not None
        or model.input_size not in (None, data.image_size)
        or model.mean not in (None, data.mean)
        or model.std not in (None, data.std)
    )
    return OwnInput(data, model) if differs else nn.Identity()


def seen_size(network: nn.Module, data: Data) -> tuple[int, int]:
    """Height and width of the images as a network sees them."""
    before = getattr(network, "own_input", None)
    return before.size if isinstance(before, OwnInput) else data.image_size


def as_seen(network: nn.Module, images: Tensor) -> Tensor:
    """Images as a network sees them; those of a model outside a suite as they are."""
    before = getattr(network, "own_input", None)
    return images if before is None else before(images)
