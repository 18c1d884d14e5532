"""Random crops that pass gradients on, for the methods that make their own images."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def shifted(images: Tensor, padding: int, flip: bool, outside: Tensor, random: Generator) -> Tensor:
    """Crops of images in a frame, each at a place of its own, half of them mirrored if `flip`.

    Args:
        images: (B, C, H, W).
        padding: width of the frame.
        outside: (C, 1, 1), the frame's colour.
    """
    rows, columns = (
        whole(images, dim)
        + torch.randint(-padding, padding + 1, (len(images), 1), generator=random, device=images.device)
        for dim in (2, 3)
    )
    return interpolated(images, rows, mirrored(columns, flip, random), outside)


def zoomed(images: Tensor, least: float, flip: bool, outside: Tensor, random: Generator) -> Tensor:
    """Parts of images at the images' size: of an area from `least` to 1, of an aspect ratio from 3 / 4 to 4 / 3.

    Args:
        images: (B, C, H, W).
        outside: (C, 1, 1), a colour that is not seen.
    """
    area, ratio, top, left = torch.rand(4, len(images), 1, generator=random, device=images.device)
    area = least + (1 - least) * area
    stretch = ((2 * ratio - 1) * math.log(4 / 3) / 2).exp()  # square root of the aspect ratio
    lines = [
        whole(images, dim) * extent + start * (1 - extent) * (images.shape[dim] - 1)
        for dim, start, extent in (
            (2, top, (area.sqrt() / stretch).clamp(max=1)),
            (3, left, (area.sqrt() * stretch).clamp(max=1)),
        )
    ]
    return interpolated(images, lines[0], mirrored(lines[1], flip, random), outside)


def whole(images: Tensor, dim: int) -> Tensor:
    """(B, N) positions of all lines along a dimension of N."""
    return torch.arange(images.shape[dim], device=images.device, dtype=images.dtype).expand(len(images), -1)


def mirrored(columns: Tensor, flip: bool, random: Generator) -> Tensor:
    """(B, W) positions, in half of the rows from last to first."""
    if not flip:
        return columns
    turned = torch.rand(len(columns), 1, generator=random, device=columns.device) < 0.5
    return torch.where(turned, columns.flip(1), columns)


def interpolated(images: Tensor, rows: Tensor, columns: Tensor, outside: Tensor) -> Tensor:
    """Images (B, C, H, W) at (B, H') rows and (B, W') columns, linear between pixels, `outside` beyond the edges."""
    seen = weights(rows, images.shape[2]) @ (images - outside) @ weights(columns, images.shape[3]).mT
    return seen + outside


def weights(positions: Tensor, size: int) -> Tensor:
    """(B, 1, N', N) what each of N lines contributes to (B, N') positions."""
    lines = torch.arange(size, device=positions.device)
    return (1 - (positions[:, None, :, None] - lines).abs()).clamp(min=0)
