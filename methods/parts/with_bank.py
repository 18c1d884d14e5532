"""What the data-free methods share that fill a bank with images and train the student on it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Setup, Stage
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.batch_statistics import BatchStatistics
from kdbench_methods.parts.crops import shifted
from kdbench_methods.parts.image_bank import ImageBank

SHOWN = 1024  # images kept with the record


class WithBank(Method):
    """Base: images are synthesised between epochs into a bank, on which the student learns KD.

    L = T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    of crops of the bank's images, drawn with replacement.
    """

    scheme = "offline"
    knowledge = ("response",)
    families = ("data_free",)
    requires = frozenset({"student.logits", "teacher.logits", "teacher.network"})
    deviations = ("synthesised images alone are seen",)

    class Params(Method.Params):
        temperature: float = Field(20.0, gt=0, description="T, softens both distributions")
        synthesised: int = Field(256, ge=2, description="images that are synthesised together")
        bank_size: int = Field(51200, ge=2, description="images that are kept; a new one takes the oldest one's place")
        padding: int = Field(4, ge=0, description="frame around an image of which crops are drawn")
        flip: bool = Field(True, description="whether half of the crops are mirrored")
        epoch_factor: int = Field(1, ge=1, description="how many times the suite's epochs the training lasts")

    def build(self, setup: Setup) -> None:
        p = self.params
        self.bank = ImageBank(max(p.bank_size, p.synthesised), setup.image_shape, setup.mean, setup.std)
        self.batch_statistics = BatchStatistics(setup.teacher_network)
        self.read_student, self.read_teacher = setup.read_student, setup.read_teacher
        self.num_classes, self.batch_size, self.random = setup.num_classes, setup.batch_size, setup.generator

    def main(self, epochs: int) -> Stage:
        self.epochs = epochs * self.params.epoch_factor
        return Stage("", self.epochs, self.loss)

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        training = student.training
        student.eval()
        self.synthesise(epoch)
        student.train(training)

    @abstractmethod
    def synthesise(self, epoch: int) -> None:
        """Add images to the bank before an epoch; the student is in evaluation mode."""

    def inputs(self, batch: Batch) -> Batch:
        return replace(batch, images=self.crops(self.bank.sample(self.batch_size, self.random)), view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"kd": kd_loss(student.logits, teacher.logits, self.params.temperature)}

    def synthetic(self) -> Tensor:
        return self.bank.some(SHOWN)

    def crops(self, images: Tensor) -> Tensor:
        """Crops of normalised images (B, C, H, W) in a black frame, mirrored or not."""
        black, _ = self.bank.range
        return shifted(images, self.params.padding, self.params.flip, black, self.random)

    def random_labels(self, number: int) -> Tensor:
        """(N,) classes for images to be synthesised."""
        return torch.randint(self.num_classes, (number,), generator=self.random, device=self.random.device)
