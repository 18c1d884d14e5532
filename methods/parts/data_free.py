"""What the data-free methods share whose generator learns together with the student."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from kdbench import Adam, Batch, Field, Method, Setup, Stage
from kdbench_methods.parts.generator import ImageGenerator

SHOWN = 256  # images kept with the record


class DataFree(Method):
    """Base: a generator under Adam, latents of the method's own, and a main stage of as many epochs as it takes."""

    scheme = "offline"
    families: ClassVar[tuple[str, ...]] = ("data_free",)
    deviations = ("images are synthetic",)
    tanh = False  # of the generator, as are the next two
    eps = 1e-5
    affine = False
    shown: Tensor

    class Params(Method.Params):
        latent: int = Field(100, ge=1, description="numbers that an image is made of")
        width: int = Field(64, ge=1, description="channels in the generator")
        generator_learning_rate: float = Field(1e-3, gt=0, description="of the generator's Adam")
        epoch_factor: int = Field(2, ge=1, description="how many times the suite's epochs the training lasts")

    def build(self, setup: Setup) -> None:
        p = self.params
        self.generator = ImageGenerator(p.latent, setup.image_shape, p.width, self.tanh, self.eps, self.affine)
        self.generator_adam = Adam(self.generator.parameters(), p.generator_learning_rate)
        self.random, self.batch_size = setup.generator, setup.batch_size
        self.read_student, self.read_teacher = setup.read_student, setup.read_teacher
        self.register_buffer("shown", self.latents(SHOWN))

    def main(self, epochs: int) -> Stage:
        return Stage("", epochs * self.params.epoch_factor, self.loss)

    def latents(self, size: int) -> Tensor:
        """(B, L) fresh ones."""
        return self.generator.draw(size, self.random)

    def falling_rate(self, batch: Batch) -> Tensor:
        """The generator's learning rate in a step, along half a cosine: a student whose own rate falls could not follow
        a generator that keeps running away from it.
        """
        return self.params.generator_learning_rate * (1 + (math.pi * batch.progress).cos()) / 2

    def synthetic(self) -> Tensor:
        return self.generator.evaluated(self.shown)
