"""The training images of a class, for the methods that distil them."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench import NotApplicable, Setup


class RealImages:
    """The training images, a class at a time, as they are."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def rows(self, label: int) -> Tensor:
        """(N,) the places of a class's images in the training set.

        Raises:
            NotApplicable: the class has fewer than are to be made of it.
        """
        found = (self.setup.train_labels == label).nonzero()[:, 0]
        if len(found) < self.setup.images_per_class:
            raise NotApplicable(f"class {label} has {len(found)} images, and {self.setup.images_per_class} are made")
        return found

    def at(self, rows: Tensor) -> Tensor:
        """(N, C, H, W) the images at places (N,)."""
        return self.setup.images(rows, torch.full_like(rows, self.setup.plain_view))

    def drawn(self, label: int, most: int) -> Tensor:
        """(N, C, H, W) different images of a class, N of them at most."""
        rows, random = self.rows(label), self.setup.generator
        return self.at(rows[torch.randperm(len(rows), generator=random, device=random.device)[:most]])

    def each_class(self) -> range:
        return range(self.setup.num_classes)
