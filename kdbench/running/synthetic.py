"""Images that a method made: kept beside the record, and drawn as a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdbench.records.distilled import IMAGES, draw_grid
from kdbench.records.store import GRID, SYNTHETIC
from kdbench.tables import Data
from kdbench.training.checkpoint import save_tensors


def save_synthetic(folder: Path, images: Tensor | None, data: Data) -> None:
    """Write (N, C, H, W) normalised images as pixels, and a grid of the first hundred; nothing where there are none."""
    if images is not None and len(images):
        save_pixels(folder, to_pixels(images, data).numpy())


def save_pixels(folder: Path, pixels: np.ndarray) -> None:
    """Write (N, C, H, W) uint8 images, and a grid of the first hundred."""
    save_tensors(folder / SYNTHETIC, {IMAGES: torch.from_numpy(pixels)})
    draw_grid(pixels).save(folder / f".{GRID}", format="png")
    (folder / f".{GRID}").replace(folder / GRID)


def to_pixels(images: Tensor, data: Data) -> Tensor:
    """Normalised images (N, C, H, W) as uint8; what is darker or brighter than a pixel can be is cut off."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (data.mean, data.std))
    return ((images.detach().float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
