"""Small images on the device: crops, flips and normalisation of a whole batch by indexing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.data.feed import Feed
from kdbench.tables import Data

if TYPE_CHECKING:
    from kdbench.data.small import Dataset

TEST_BATCH = 1000


class SmallImages:
    """The images of a suite, held on the device as uint8."""

    can_cut = True

    def __init__(self, data: Data, dataset: Dataset, device: torch.device) -> None:
        self.cut = Views(data, dataset.train_images, device)
        self.test_images = dataset.test_images.to(device)
        self.normalize = Normalize(data, device)

    def epoch(self, feed: Feed, first: int) -> Iterator[None]:
        """Nothing is made ahead of the steps: each cuts its own batch."""
        return repeat(None)

    def test(self) -> Iterator[Tensor]:
        """The test images (B, C, H, W), normalised, in batches."""
        for chunk in self.test_images.split(TEST_BATCH):
            yield self.normalize(chunk)


class Views:
    """The training images of a suite on a device, and any batch of their views.

    View v of an image is the crop at (row, column) = divmod(v // flips, 2 * padding + 1) of the image in a frame of
    zeros; with horizontal flips, odd views are mirrored.
    """

    def __init__(self, data: Data, images: Tensor, device: torch.device) -> None:
        p = data.crop_padding
        self.padded = F.pad(images.to(device), (p, p, p, p)).permute(0, 2, 3, 1).contiguous()  # (N, H + 2p, W + 2p, C)
        self.offsets = 2 * p + 1
        self.flip = data.horizontal_flip
        height, width = data.image_size
        self.rows = torch.arange(height, device=device)
        self.columns = torch.arange(width, device=device)
        self.normalize = Normalize(data, device)

    def __call__(self, index: Tensor, view: Tensor) -> Tensor:
        """Views of images, normalised: (B,) and (B,) to (B, C, H, W) float32, channels last in memory."""
        crop = view // 2 if self.flip else view
        row, column = crop // self.offsets, crop % self.offsets
        columns = self.columns.expand(len(view), -1)
        if self.flip:
            columns = torch.where((view % 2 == 1)[:, None], columns.flip(1), columns)
        rows = (row[:, None] + self.rows)[:, :, None]
        columns = (column[:, None] + columns)[:, None, :]
        return self.normalize(self.padded[index[:, None, None], rows, columns].permute(0, 3, 1, 2))


class Normalize:
    """uint8 pixels (B, C, H, W) to float32, by the suite's mean and standard deviation; bit-equal to torchvision's."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self.mean = torch.tensor(data.mean, device=device)[:, None, None]
        self.std = torch.tensor(data.std, device=device)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().div_(255).sub_(self.mean).div_(self.std)
