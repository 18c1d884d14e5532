"""Images that a method made: kept beside the record, and drawn as a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdbench.records.store import GRID, SYNTHETIC
from kdbench.tables import Data
from kdbench.training.checkpoint import save_tensors

SIDE = 10  # images in a row and in a column of the grid
LEAST = 48  # pixels of an image in the grid


def save_synthetic(folder: Path, images: Tensor | None, data: Data) -> None:
    """Write (N, C, H, W) normalised images as pixels, and a grid of the first hundred; nothing where there are none."""
    if images is None or not len(images):
        return
    pixels = to_pixels(images, data)
    save_tensors(folder / SYNTHETIC, {"images": pixels})
    draw_grid(pixels.numpy()).save(folder / f".{GRID}", format="png")
    (folder / f".{GRID}").replace(folder / GRID)


def to_pixels(images: Tensor, data: Data) -> Tensor:
    """Normalised images (N, C, H, W) as uint8; what is darker or brighter than a pixel can be is cut off."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    return ((images.detach().float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def draw_grid(pixels: np.ndarray) -> Image.Image:
    """The first hundred of (N, C, H, W) uint8 images, row by row, with a pixel between them."""
    shown = pixels[: SIDE * SIDE]
    channels, height, width = shown.shape[1:]
    zoom = max(1, -(-LEAST // height))
    shown = shown.repeat(zoom, axis=2).repeat(zoom, axis=3)
    rows, step = -(-len(shown) // SIDE), (zoom * height + 1, zoom * width + 1)
    grid = np.full((channels, rows * step[0] - 1, SIDE * step[1] - 1), 128, dtype=np.uint8)
    for n, image in enumerate(shown):
        top, left = n // SIDE * step[0], n % SIDE * step[1]
        grid[:, top : top + zoom * height, left : left + zoom * width] = image
    return Image.fromarray(grid[0] if channels == 1 else grid.transpose(1, 2, 0))
