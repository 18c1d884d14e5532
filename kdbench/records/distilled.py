"""Distilled data beside records: images of 8 bits, named by their content, and drawn as a grid.

In `runs/` they are the cell's `synthetic.safetensors`; a folder of `results/` has those of all its records in
`distilled.safetensors`, each once however many students learned from them. What is read may be anybody's: its size,
type and shape are checked before its pixels are used, and each set of images against the hash that its records state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from kdbench.errors import KdbenchError, first_line
from kdbench.files import read_plain
from kdbench.tables import SMALL

IMAGES = "images"  # of the one set of a cell
MOST_BYTES = 2**27  # of a file
MOST_SETS = 10_000
SIDE = 10  # images in a row and in a column of the grid
LEAST = 48  # pixels of an image in the grid


def images_sha256(pixels: np.ndarray) -> str:
    """Hash of (K, C, H, W) uint8 images, their number and shape among it."""
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def write_distilled(path: Path, images: Mapping[str, np.ndarray]) -> None:
    """Write sets of images by their hashes."""
    path.write_bytes(save({sha256: np.ascontiguousarray(images[sha256]) for sha256 in sorted(images)}))


def read_distilled(path: Path) -> dict[str, np.ndarray]:
    """Read sets of images by their names, each (K, C, H, W) uint8.

    Raises:
        FileNotFoundError: there is no such file.
        KdbenchError: it is no plain file, too large, no safetensors, or holds something else than images.
    """
    content = read_plain(path, MOST_BYTES)
    try:
        found = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KdbenchError(f"{path} cannot be read: {first_line(error)}.") from error
    if len(found) > MOST_SETS:
        raise KdbenchError(f"{path} holds more sets of images than its records can have.")
    for name, pixels in found.items():
        is_grid = pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.size and pixels.shape[1] in (1, 3)
        if not is_grid or max(pixels.shape[2:]) > SMALL:
            raise KdbenchError(f"{path} cannot be read: '{name[:80]}' are no small images of 8 bits.")
    return found


def checked_images(known: Mapping[str, np.ndarray], name: str, sha256: str, path: Path) -> np.ndarray:
    """A set of images of a file, its hash verified.

    Raises:
        KdbenchError: it is missing, or not what its record says.
    """
    if name not in known or images_sha256(known[name]) != sha256:
        raise KdbenchError(f"{path} is corrupt: the images {sha256[:16]} do not match their hash.")
    return known[name]


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
