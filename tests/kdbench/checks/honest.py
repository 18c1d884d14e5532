"""Methods without tricks, as the guide has one write them."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup

WORDS = Path(__file__).with_name("words.csv")  # 10 embeddings of names of classes


class Honest(Method):
    """The student learns the labels."""

    name, version = "honest", 1
    paper = Paper("A title", "An Author", 2024)
    scheme, knowledge = "self", ("response",)
    requires = frozenset({"student.logits"})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels)}


class OwnBuffers(Honest):
    """The student keeps near its own mean answer of each class."""

    class Params(Method.Params):
        mean_weight: float = Field(1.0, ge=0, description="weight of the distance to the class's mean")

    def build(self, setup: Setup) -> None:
        self.register_buffer("means", torch.zeros(setup.num_classes, setup.num_classes))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        distance = F.mse_loss(student.logits, self.means[batch.labels])
        with torch.no_grad():
            hot = F.one_hot(batch.labels, self.means.shape[0]).float()
            count = hot.sum(dim=0)[:, None]
            mean = hot.T @ student.logits / count.clamp(min=1)
            self.means.copy_(torch.where(count > 0, 0.9 * self.means + 0.1 * mean, self.means))
        return super().loss(batch, student, teacher) | {"mean": self.params.mean_weight * distance}


class MeanTeacher(Honest):
    """The student learns from a running mean of itself, which is deployed."""

    requires = frozenset({"student.logits", "student.network"})

    class Params(Method.Params):
        mean_weight: float = Field(1.0, ge=0, description="weight of the distance to the mean's answers")

    def build(self, setup: Setup) -> None:
        self.student = (setup.student_network,)
        self.mean = copy.deepcopy(setup.student_network).requires_grad_(False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self.mean(batch.images)
            for own, other in zip(self.mean.parameters(), self.student[0].parameters(), strict=True):
                own.lerp_(other.to(own.dtype), 0.1)
            for own, other in zip(self.mean.buffers(), self.student[0].buffers(), strict=True):
                own.copy_(other)
        distance = F.mse_loss(student.logits, target)
        return super().loss(batch, student, teacher) | {"mean": self.params.mean_weight * distance}

    def deployed(self, student: nn.Module, read: Read) -> nn.Module:
        return self.mean


class ClassAttention(Honest):
    """The student's embedding is drawn to the weights of its own classifier for the label."""

    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.embedding", "student.network"})

    class Params(Method.Params):
        attention_weight: float = Field(1.0, ge=0, description="weight of the angle to the class's weights")

    def build(self, setup: Setup) -> None:
        self.classifier = setup.student_network.get_classifier()

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        angle = 1 - F.cosine_similarity(student.embedding, self.classifier.weight[batch.labels], dim=1).mean()
        return super().loss(batch, student, teacher) | {"angle": self.params.attention_weight * angle}


class StrongViews(Honest):
    """The student sees images with noise and a hidden corner."""

    deviations = ("images have noise and a hidden corner",)

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator

    def inputs(self, batch: Batch) -> Batch:
        noise = torch.randn(batch.images.shape, generator=self.generator, device=batch.images.device)
        images = batch.images + 0.1 * noise
        images[:, :, :2, :2] = 0
        return dataclasses.replace(batch, images=images, view=None)


class NamesOfClasses(Honest):
    """The student's embedding, projected, is near that of its class's name."""

    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.embedding"})

    class Params(Method.Params):
        name_weight: float = Field(1.0, ge=0, description="weight of the distance to the name")

    def build(self, setup: Setup) -> None:
        rows = [[float(value) for value in line.split(",")] for line in WORDS.read_text().splitlines()]
        self.register_buffer("words", torch.tensor(rows))
        self.project = nn.Linear(setup.student.embedding, len(rows[0]))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        distance = F.mse_loss(self.project(student.embedding), self.words[batch.labels])
        return super().loss(batch, student, teacher) | {"name": self.params.name_weight * distance}
