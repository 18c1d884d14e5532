"""What the methods share that learn a small training set by gradient descent on its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from kdbench import DatasetMethod, Field, OwnNetwork, Setup
from kdbench_methods.parts.real_images import RealImages


class LearnedImages(DatasetMethod):
    """Base: k images a class under SGD with momentum, within what pixels can be, beside real images of each class."""

    scheme = "offline"
    images: Tensor
    velocity: Tensor
    darkest: Tensor
    brightest: Tensor

    class Params(DatasetMethod.Params):
        iterations: int = Field(1000, ge=0, description="fresh networks, on each of which the images are improved")
        real_images: int = Field(256, ge=1, description="of a class, drawn for each improvement")
        image_learning_rate: float = Field(0.1, gt=0, description="of the images' SGD")
        image_momentum: float = Field(0.5, ge=0, lt=1, description="of the images' SGD")
        start: Literal["noise", "real"] = Field("real", description="what the images are at first")

    def build(self, setup: Setup) -> None:
        self.setup, self.real = setup, RealImages(setup)
        each, device = setup.images_per_class, setup.generator.device
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (setup.mean, setup.std))
        self.register_buffer("darkest", (0 - mean) / std)
        self.register_buffer("brightest", (1 - mean) / std)
        real = torch.cat([self.real.drawn(label, each) for label in self.real.each_class()])
        if self.params.start == "noise":
            real = torch.randn(real.shape, generator=setup.generator, device=device)
        self.register_buffer("images", real.clamp(self.darkest, self.brightest))
        self.register_buffer("velocity", torch.zeros_like(self.images))

    def iterations(self) -> int:
        return self.params.iterations

    def synthetic(self) -> Tensor:
        return self.images

    def fresh_network(self) -> OwnNetwork:
        """A network with fresh weights, in training mode, that is gone after the iteration."""
        return self.setup.network("teacher").to(self.images.device).train()

    def classes(self, images: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each class with real images of it (N, C, H, W), drawn anew, and its part (k, C, H, W) of all `images`."""
        for label, own in enumerate(images.split(self.setup.images_per_class)):
            yield label, self.real.drawn(label, self.params.real_images), own

    @torch.no_grad()
    def descend(self, gradient: Tensor) -> None:
        """One step of SGD on all images, which stay within what pixels can be."""
        p = self.params
        self.velocity.mul_(p.image_momentum).add_(gradient)
        self.images.sub_(p.image_learning_rate * self.velocity)
        self.images.copy_(self.images.clamp(self.darkest, self.brightest))
