"""DeepInversion (Yin et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Adam, Field, Paper, Setup
from kdbench_methods.parts.with_bank import WithBank


class DeepInversion(WithBank):
    """The student learns KD on images that the teacher's memory of its training images was inverted into.

    L(x) = CE(z_t(x), y) + variation_weight * TV(x) + l2_weight * |x|_2
             + statistics_weight * sum_l (|mean_l(x) - mean_l|_2 + |var_l(x) - var_l|_2)
             + compete_weight * (1 - JS(softmax(z_t / T), softmax(z_s / T)))
    Then:  L = T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    x: a batch of pixels, from noise, rolled by a random shift in every iteration and kept between black and white.
    mean_l, var_l: what the teacher's batch norm l remembers; a teacher without batch norm has no such term, and what
    remains is what the paper compares itself with as DeepDream. With the last term it is Adaptive DeepInversion.

    Before each epoch a batch is synthesised, until the bank is full.

    As the authors' code (github.com/NVlabs/DeepInversion, cifar10/deepinversion_cifar10.py, cifar10/README.md, commit
    2413af1): the losses without competition, their weights for CIFAR-10 (of l2: the paper's), the shifts,
    Adam. Pixels are clipped as in its deepinversion.py. The code of its distillation was not published: T = 3 is the
    authors' answer in issue 9. On purpose otherwise: JS is the paper's; the code takes the divergences of the mean from
    each of both, of probabilities between 0.01 and 0.99 (by default neither has a weight).
    """

    name, version = "deepinversion", 1
    paper = Paper(
        "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion",
        "Hongxu Yin, Pavlo Molchanov, Zhizhong Li, Jose M. Alvarez, Arun Mallya, Derek Hoiem, Niraj K. Jha, Jan Kautz",
        2020,
        "1912.08795",
    )
    checked_with = {"synthesised": 8, "bank_size": 16, "iterations": 4, "statistics_weight": 0.0}

    class Params(WithBank.Params):
        temperature: float = Field(3.0, gt=0, description="T, softens both distributions")
        iterations: int = Field(2000, ge=1, description="steps of the pixels")
        pixel_learning_rate: float = Field(0.05, gt=0, description="of the pixels' Adam")
        statistics_weight: float = Field(10.0, ge=0, description="weight of the batch norms' statistics")
        variation_weight: float = Field(2.5e-5, ge=0, description="weight of the differences between pixels")
        l2_weight: float = Field(3e-8, ge=0, description="weight of the pixels' size")
        compete_weight: float = Field(0.0, ge=0, description="weight of the student's agreement (0.2 for ImageNet)")
        jitter: int = Field(2, ge=0, description="how far an image may be shifted in an iteration")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.pixels = nn.Parameter(torch.zeros(self.params.synthesised, *setup.image_shape))
        self.adam = Adam([self.pixels], self.params.pixel_learning_rate)

    def synthesise(self, epoch: int) -> None:
        p = self.params
        if len(self.bank) >= p.bank_size:
            return
        labels = torch.arange(p.synthesised, device=self.pixels.device) % self.num_classes
        self.adam.restart()
        with torch.no_grad():
            self.pixels.normal_(generator=self.random)
        with self.batch_statistics.watched() as given:
            for _ in range(p.iterations):
                images = self.rolled(self.pixels)
                logits = self.read_teacher(images).logits
                loss = F.cross_entropy(logits, labels) + p.statistics_weight * self.batch_statistics.loss(given)
                loss = loss + p.variation_weight * variation(images) + p.l2_weight * images.norm()
                if p.compete_weight > 0:
                    student = self.read_student(images).logits
                    loss = loss + p.compete_weight * (1 - jensen_shannon(logits, student, p.temperature))
                self.adam.minimise(loss)
                with torch.no_grad():
                    self.pixels.clamp_(*self.bank.range)
        self.bank.add(self.pixels)

    def rolled(self, images: Tensor) -> Tensor:
        """Images shifted alike by up to `jitter` pixels, around the edges."""
        jitter = self.params.jitter
        down, right = torch.randint(-jitter, jitter + 1, (2,), generator=self.random, device=images.device).tolist()
        return images.roll((down, right), dims=(2, 3))


def variation(images: Tensor) -> Tensor:
    """Norms of the differences of (B, C, H, W) images with their neighbours right, below and on both diagonals."""
    right = images[..., :, 1:] - images[..., :, :-1]
    below = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return right.norm() + below.norm() + falling.norm() + rising.norm()


def jensen_shannon(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """JS divergence of softened (B, C) logits: half of each one's KL from their mean, averaged over the batch."""
    log_p, log_q = ((logits / temperature).log_softmax(dim=1) for logits in (one, other))
    log_mean = torch.logaddexp(log_p, log_q) - torch.tensor(2.0).log()
    return sum(0.5 * F.kl_div(log_mean, log, reduction="batchmean", log_target=True) for log in (log_p, log_q))  # type: ignore[return-value]
