"""Data-free adversarial distillation (Fang et al. 2019)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.data_free import DataFree


class DFAD(DataFree):
    """A generator makes the images on which the student's logits are farthest from the teacher's; the student follows.

    D(G, S) = mean |z_t(G(u)) - z_s(G(u))|,    u ~ N(0, 1)

    Before every fifth step of the student G moves up D; in every step S moves down D, on images of fresh latents.

    As the authors' code (github.com/VainF/Data-Free-Adversarial-Distillation, DFAD_cifar.py, network/gan.py, commit
    c161591): both losses, five steps of the student to one of G, G's layers, latents and Adam. On purpose otherwise:
    with --scheduler G's learning rate falls in steps there; here along a half cosine, as the student's does, whose
    recipe is the suite's.
    """

    name, version = "dfad", 1
    paper = Paper(
        "Data-Free Adversarial Distillation",
        "Gongfan Fang, Jie Song, Chengchao Shen, Xinchao Wang, Da Chen, Mingli Song",
        2019,
        "1912.11006",
    )
    knowledge = ("response",)
    families = ("data_free", "adversarial")
    requires = frozenset({"student.logits", "teacher.logits"})
    eager = True
    tanh = True

    class Params(DataFree.Params):
        latent: int = Field(256, ge=1, description="numbers that an image is made of")
        student_steps: int = Field(5, ge=1, description="steps of the student for each of the generator")

    def inputs(self, batch: Batch) -> Batch:
        assert batch.number is not None
        if batch.number % self.params.student_steps == 0:
            images = self.generator(self.latents(self.batch_size))
            student, teacher = self.read_student(images), self.read_teacher(images)
            self.generator_adam.minimise(-discrepancy(student.logits, teacher.logits), self.falling_rate(batch))
        with torch.no_grad():
            images = self.generator(self.latents(self.batch_size))
        return replace(batch, images=images, view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"discrepancy": discrepancy(student.logits, teacher.logits)}


def discrepancy(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean absolute difference of (B, C) logits, over images and classes."""
    return F.l1_loss(student_logits, teacher_logits)
