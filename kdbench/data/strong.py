"""Strong views: further crops of a batch's images, each distorted twice and partly erased, computed on the device.

Two of fourteen operations at a random strength, then a square in the mean colour: RandAugment as FixMatch and the
methods after it have it (Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/dataset/cifar100.py, commit 5ee473f). The
operations are Pillow's on 8-bit pixels. Every image of a batch goes through all of them and keeps what was drawn for
it, so that nothing depends on a value and a step can be captured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from kdbench.data.views import Normalize
from kdbench.tables import Data

DRAWS = 7  # of an image: two operations and their strengths; the square's size, row and column
LUMA = (19595, 38470, 7471)  # Pillow's weights of red, green and blue, of 65536


class StrongViews:
    """Strong views of training images, normalised.

    Args:
        cut: crops of training images, normalised, from (B,) `index` and (B,) `view`.
    """

    def __init__(self, data: Data, cut: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> None:
        self.cut, self.normalize = cut, Normalize(data, device)
        self.lowest = torch.tensor([low for _, low, _ in OPERATIONS], device=device)
        self.range = torch.tensor([high - low for _, low, high in OPERATIONS], device=device)

    def __call__(self, index: Tensor, view: Tensor, draws: Tensor) -> Tensor:
        """(B,), (B,) and (B, 7) draws from [0, 1) to (B, C, H, W) float32, channels last in memory."""
        mean, std = self.normalize.mean, self.normalize.std
        pixels = ((self.cut(index, view) * std + mean) * 255).round().clamp(0, 255)
        for n in (0, 2):
            pixels = self.distort(pixels, draws[:, n], draws[:, n + 1])
        pixels = erase(pixels, draws[:, 4:], mean * 255)
        return self.normalize(pixels).contiguous(memory_format=torch.channels_last)

    def distort(self, pixels: Tensor, which: Tensor, strength: Tensor) -> Tensor:
        """(B, C, H, W) pixels, each image by one operation; (B,) draws of which, and how strongly."""
        chosen = (which * len(OPERATIONS)).long()
        value = (self.lowest[chosen] + self.range[chosen] * strength)[:, None, None, None]
        out = pixels
        for n, (operation, *_) in enumerate(OPERATIONS):
            out = torch.where((chosen == n)[:, None, None, None], operation(pixels, value), out)
        return out


def erase(pixels: Tensor, draws: Tensor, color: Tensor) -> Tensor:
    """(B, C, H, W) pixels with a square of up to half their width in one (C, 1, 1) colour; (B, 3) draws."""
    height, width = pixels.shape[2:]
    size = draws[:, :1] * 0.5 * width
    rows, columns = (
        within(length, 1 + (length - 1) * draws[:, n : n + 1], size) for n, length in ((1, height), (2, width))
    )
    return torch.where(rows[:, None, :, None] & columns[:, None, None, :], color, pixels)


def within(length: int, centre: Tensor, size: Tensor) -> Tensor:
    """(B, 1) centres and sizes to (B, length): what a square covers of an axis, both ends included."""
    place = torch.arange(length, device=centre.device)
    first = (centre - size / 2).clamp(min=0).floor()
    return (place >= first) & (place <= (first + size).clamp(max=length).floor())


def same(pixels: Tensor, value: Tensor) -> Tensor:
    return pixels


def gray(pixels: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H, W): how bright; the mean of channels that are not red, green and blue."""
    if pixels.shape[1] != 3:
        return pixels.mean(dim=1, keepdim=True).floor()
    red, green, blue = (weight * pixels[:, c : c + 1] for c, weight in enumerate(LUMA))
    return ((red + green + blue + 32768) / 65536).floor()


def blend(other: Tensor, pixels: Tensor, value: Tensor) -> Tensor:
    """Between another image at 0 and this one at 1."""
    return (other + value * (pixels - other)).floor()


def brightness(pixels: Tensor, value: Tensor) -> Tensor:
    return (value * pixels).floor()


def color(pixels: Tensor, value: Tensor) -> Tensor:
    return blend(gray(pixels), pixels, value)


def contrast(pixels: Tensor, value: Tensor) -> Tensor:
    return blend((gray(pixels).mean(dim=(1, 2, 3), keepdim=True) + 0.5).floor(), pixels, value)


def sharpness(pixels: Tensor, value: Tensor) -> Tensor:
    """Between an image smoothed over 3 x 3 pixels, but for its edges, and itself."""
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = pixels.clone()
    smooth[:, :, 1:-1, 1:-1] = ((around + 4 * pixels[:, :, 1:-1, 1:-1]) / 13 + 0.5).floor()
    return blend(smooth, pixels, value)


def auto_contrast(pixels: Tensor, value: Tensor) -> Tensor:
    """Each channel's darkest pixel to 0, its brightest to 255."""
    low, high = pixels.amin(dim=(2, 3), keepdim=True), pixels.amax(dim=(2, 3), keepdim=True)
    stretched = ((pixels - low) * 255 / (high - low).clamp(min=1)).floor()
    return torch.where(high > low, stretched, pixels)


def equalize(pixels: Tensor, value: Tensor) -> Tensor:
    """Each channel's values spread so that every brightness is about as frequent."""
    flat = pixels.long().flatten(2)
    counts = flat.new_zeros(*flat.shape[:2], 256).scatter_add_(2, flat, torch.ones_like(flat))
    brightest = counts.gather(2, flat.amax(dim=2, keepdim=True))
    step = (flat.shape[2] - brightest) // 255
    table = ((counts.cumsum(dim=2) - counts + step // 2) // step.clamp(min=1)).clamp(max=255)
    return torch.where(step > 0, table.gather(2, flat), flat).reshape(pixels.shape).to(pixels)


def posterize(pixels: Tensor, value: Tensor) -> Tensor:
    """The highest bits alone, so many of eight."""
    unit = 2 ** (8 - value.floor())
    return (pixels / unit).floor() * unit


def solarize(pixels: Tensor, value: Tensor) -> Tensor:
    """Pixels from a brightness on inverted."""
    return torch.where(pixels < value, pixels, 255 - pixels)


def rotate(pixels: Tensor, value: Tensor) -> Tensor:
    """Counter-clockwise about the centre, by degrees."""
    height, width = pixels.shape[2:]
    angle = -torch.deg2rad(value[:, 0])
    y, x = (torch.arange(length, device=pixels.device) + 0.5 - length / 2 for length in (height, width))
    y, x = y[None, :, None], x[None, None, :]
    column = angle.cos() * x + angle.sin() * y + width / 2
    row = angle.cos() * y - angle.sin() * x + height / 2
    return resample(pixels, row, column)


def shift(pixels: Tensor, value: Tensor, axis: str, by: str) -> Tensor:
    """Each pixel from another place on an axis, "row" or "column".

    Args:
        by: "size": a share of the image's; "row" or "column": a share of where the pixel is on the other axis.
    """
    height, width = pixels.shape[2:]
    row = (torch.arange(height, device=pixels.device) + 0.5)[None, :, None].expand(1, height, width)
    column = (torch.arange(width, device=pixels.device) + 0.5)[None, None, :].expand(1, height, width)
    places, value = {"row": row, "column": column}, value[:, 0]
    moved = value * (places[by] if by in places else {"row": height, "column": width}[axis])
    places[axis] = places[axis] + moved
    return resample(pixels, places["row"], places["column"])


def resample(pixels: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The pixel at each (B, H, W) row and column, rounded down; black outside."""
    batch, channels, height, width = pixels.shape
    row, column = (place.expand(batch, height, width).floor() for place in (row, column))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = (row * width + column).clamp(0, height * width - 1).long()
    found = pixels.flatten(2).gather(2, place.flatten(1)[:, None].expand(-1, channels, -1)).reshape(pixels.shape)
    return found * inside[:, None]


OPERATIONS: tuple[tuple[Callable[[Tensor, Tensor], Tensor], float, float], ...] = (  # and the range of their strength
    (auto_contrast, 0, 1),
    (brightness, 0.05, 0.95),
    (color, 0.05, 0.95),
    (contrast, 0.05, 0.95),
    (equalize, 0, 1),
    (same, 0, 1),
    (posterize, 4, 8),
    (rotate, -30, 30),
    (sharpness, 0.05, 0.95),
    (partial(shift, axis="column", by="row"), -0.3, 0.3),
    (partial(shift, axis="row", by="column"), -0.3, 0.3),
    (solarize, 0, 256),
    (partial(shift, axis="column", by="size"), -0.3, 0.3),
    (partial(shift, axis="row", by="size"), -0.3, 0.3),
)
