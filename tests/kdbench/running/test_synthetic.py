"""Images that a method made are kept as pixels, and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from kdbench.records.distilled import draw_grid
from kdbench.running.synthetic import save_synthetic, to_pixels
from kdbench.suite import Suite
from kdbench.training.checkpoint import load_tensors


def test_pixels_are_those_that_the_normalised_images_mean(digits: Suite) -> None:
    mean, std = digits.data.mean[0], digits.data.std[0]
    pixels = torch.tensor([0, 17, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    normalised = (pixels.float() / 255 - mean) / std
    assert torch.equal(to_pixels(normalised, digits.data), pixels)
    assert to_pixels(torch.tensor([[[[-9.0, 9.0]]]]), digits.data).flatten().tolist() == [0, 255]


def test_a_grid_shows_a_hundred_images_enlarged_row_by_row() -> None:
    pixels = np.zeros((120, 3, 8, 8), dtype=np.uint8)
    pixels[11] = 200  # second row, second column
    grid = np.asarray(draw_grid(pixels))
    assert grid.shape == (10 * 49 - 1, 10 * 49 - 1, 3)
    assert (grid[49 : 49 + 48, 49 : 49 + 48] == 200).all()
    assert (grid[:48, :48] == 0).all()
    assert (grid[48] == 128).all()


def test_images_and_grid_lie_beside_the_record(digits: Suite, tmp_path: Path) -> None:
    save_synthetic(tmp_path, torch.zeros(5, 1, 8, 8), digits.data)
    assert load_tensors(tmp_path / "synthetic.safetensors")[0]["images"].shape == (5, 1, 8, 8)
    with Image.open(tmp_path / "synthetic.png") as grid:
        assert (grid.mode, grid.size) == ("L", (489, 48))


def test_a_method_that_makes_no_images_leaves_no_file(digits: Suite, tmp_path: Path) -> None:
    save_synthetic(tmp_path, None, digits.data)
    save_synthetic(tmp_path, torch.zeros(0, 1, 8, 8), digits.data)
    assert not list(tmp_path.iterdir())
