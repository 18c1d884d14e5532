"""Zero-shot knowledge transfer (Micaelli and Storkey 2019)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.at import attention_loss
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.data_free import DataFree


class ZSKT(DataFree):
    """A generator moves its images to where student and teacher disagree; the student then takes ten steps on them.

    G:  L = -KL(softmax(z_t) || softmax(z_s))
    S:  L = kd_weight * KL(softmax(z_t) || softmax(z_s)) + attention_weight * sum_l mean((Q(f_s^l) - Q(f_t^l))^2)

    Q as in attention transfer (at). G's learning rate falls along a half cosine.

    As the authors' code (github.com/polo5/ZeroShotKnowledgeTransfer, solver.py, models/generator.py, commit e24915d): G
    with weights in its last batch norm, its Adam and cosine, one step of G and ten of the student on the same images
    (the scripts' number). On purpose otherwise: KL is averaged over the 10 classes there, beside an attention weight
    of 250; here it is summed, and the weight ten times as large, which keeps their ratio. The student follows the
    suite's recipe (theirs: Adam), and neither gradient is limited to a norm of 5, which shortens the first steps there.
    """

    name, version = "zskt", 2
    paper = Paper(
        "Zero-shot Knowledge Transfer via Adversarial Belief Matching",
        "Paul Micaelli, Amos Storkey",
        2019,
        "1905.09768",
    )
    knowledge = ("response", "feature")
    families = ("data_free", "adversarial")
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})
    eager = True
    affine = True
    images: Tensor

    class Params(DataFree.Params):
        student_steps: int = Field(10, ge=1, description="steps of the student on the images of one generator's step")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the teacher")
        attention_weight: float = Field(2500.0, ge=0, description="weight of the attention maps' difference")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("images", torch.zeros(setup.batch_size, *setup.image_shape))

    def inputs(self, batch: Batch) -> Batch:
        assert batch.number is not None
        if batch.number % self.params.student_steps == 0:
            latents = self.latents(self.batch_size)
            images = self.generator(latents)
            student, teacher = self.read_student(images), self.read_teacher(images)
            self.generator_adam.minimise(
                -kd_loss(student.logits, teacher.logits, temperature=1.0), self.falling_rate(batch)
            )
            with torch.no_grad():
                self.images.copy_(self.generator(latents))
        return replace(batch, images=self.images, view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        return {
            "kd": p.kd_weight * kd_loss(student.logits, teacher.logits, temperature=1.0),
            "attention": p.attention_weight * attention_loss(student.features, teacher.features),
        }
