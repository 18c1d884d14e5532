"""A control: images of the training set, drawn at random."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench import DatasetMethod, Setup
from kdbench_methods.parts.real_images import RealImages


class RandomImages(DatasetMethod):
    """Students learn from real images, drawn at random from each class: what a method that makes images must beat.

    S_c = {x_1, ..., x_k}, of N_c images of class c

    All images of a class are equally likely, and none is drawn twice.
    """

    name, version = "random_images", 1
    scheme = "baseline"
    requires = frozenset({"images"})
    images: Tensor

    def build(self, setup: Setup) -> None:
        real = RealImages(setup)
        drawn = [real.drawn(label, setup.images_per_class) for label in real.each_class()]
        self.register_buffer("images", torch.cat(drawn))

    def synthetic(self) -> Tensor:
        return self.images
