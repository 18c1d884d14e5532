"""Augmentations that are differentiable in the images, and the same for several sets of them.

As the authors' code of differentiable siamese augmentation (github.com/VICO-UoE/DatasetCondensation, utils.py, commit
53f63a6): ranges, and one kind at a time. Numbers are drawn by a method's own generator, in 0..1 each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

STRATEGY = "color_crop_cutout_flip_scale_rotate"
DRAWS = 3  # numbers of an image at most
SCALE, ANGLE, SHIFT, CUT, BRIGHTNESS, SATURATION, CONTRAST = 1.2, 15.0, 0.125, 0.5, 1.0, 2.0, 0.5


class Augmentation:
    """One of several kinds of augmentation, by a strategy such as "color_crop_flip".

    Raises:
        ValueError: a kind that there is not.
    """

    def __init__(self, strategy: str) -> None:
        self.kinds = strategy.split("_")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"strategy: no augmentation '{unknown[0]}'; known: {', '.join(KINDS)}")

    def drawn(self, count: int, random: torch.Generator) -> Callable[[Tensor], Tensor]:
        """One of the kinds with its numbers: for each of `count` images, or for all where that is 1."""
        where: dict[str, Any] = {"generator": random, "device": random.device}
        kind = self.kinds[int(torch.randint(len(self.kinds), (1,), **where))]
        numbers = torch.rand(count, DRAWS, **where)
        return lambda images: KINDS[kind](images, numbers.expand(len(images), -1))


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness, saturation and contrast of images (B, C, H, W), by numbers (B, 3)."""
    u = u[:, :, None, None, None]
    x = x + (u[:, 0] - 0.5) * BRIGHTNESS
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (u[:, 1] * SATURATION) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (u[:, 2] + CONTRAST) + mean


def crop(x: Tensor, u: Tensor) -> Tensor:
    """Shifted by an eighth of the size at most, zeros moving in."""
    rows, columns = (shifted(x.shape[i], u[:, i - 2], x.device) for i in (2, 3))
    padded = F.pad(x, (1, 1, 1, 1))
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shifted(size: int, u: Tensor, device: torch.device) -> Tensor:
    """(B, size) places in a frame of zeros, one wide, that a shift by numbers (B,) reads."""
    most = int(size * SHIFT + 0.5)
    shift = (u * (2 * most + 1)).long().clamp(max=2 * most) - most
    return (torch.arange(size, device=device) + shift[:, None] + 1).clamp(0, size + 1)


def cutout(x: Tensor, u: Tensor) -> Tensor:
    """Without a square of half the size, anywhere in the image."""
    rows, columns = (outside(x.shape[i], u[:, i - 2], x.device) for i in (2, 3))
    return x * (rows[:, :, None] | columns[:, None, :])[:, None].to(x)


def outside(size: int, u: Tensor, device: torch.device) -> Tensor:
    """(B, size) whether a place is outside the square that numbers (B,) put somewhere."""
    length = int(size * CUT + 0.5)
    places = size + 1 - length % 2
    start = (u * places).long().clamp(max=places - 1) - length // 2
    place = torch.arange(size, device=device)
    return (place < start[:, None].clamp(min=0)) | (place > (start[:, None] + length - 1).clamp(max=size - 1))


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirrored, every second time."""
    return torch.where(u[:, 0, None, None, None] < 0.5, x.flip(3), x)


def scale(x: Tensor, u: Tensor) -> Tensor:
    """Height and width between 1/1.2 and 1.2 times as large."""
    factors = u[:, :2] * (SCALE - 1 / SCALE) + 1 / SCALE
    return moved(x, torch.diag_embed(factors))


def rotate(x: Tensor, u: Tensor) -> Tensor:
    """Turned by 15 degrees at most."""
    angle = (u[:, 0] - 0.5) * 2 * ANGLE / 180 * math.pi
    rows = [torch.stack([angle.cos(), (-angle).sin()], dim=1), torch.stack([angle.sin(), angle.cos()], dim=1)]
    return moved(x, torch.stack(rows, dim=1))


def moved(x: Tensor, matrix: Tensor) -> Tensor:
    """Images (B, C, H, W) under linear maps (B, 2, 2) of their places, from the middle."""
    theta = F.pad(matrix, (0, 1)).to(x)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}
