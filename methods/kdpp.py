"""KD++: knowledge distillation with the teacher's feature norm and direction (Wang et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.layers import BatchNorm


class KDPP(Method):
    """KD, and the student's embedding is long and points to where the teacher has the image's class.

    L = CE(z_s, y) + m * kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))
        + direction_weight * mean over images of 1 - <r(e_s), c_y / |c_y|> / max(|r(e_s)|, |e_t|)

    m = min(epoch / (warm_up_share * epochs), 1)

    c_y: the teacher's mean embedding of the training images of class y, each in one random view, from before the first
    epoch. r: batch norm, dropout of 0.5 and a linear layer where the embeddings' widths differ, else nothing.

    As the authors' code (WangYZ1608/Knowledge-Distillation-via-ND, CIFAR/train_cifar_kd.py, CIFAR/utils.py,
    CIFAR/Models/embtrans_cifar.py and CIFAR/emb_fea_distribution.py, commit fc6f3f9): both terms, warm-up of 20 of 240
    epochs that counts from 0, weights of resnet56 and resnet20, r and its initial weights, views behind the means,
    which there are rounded to four digits.
    """

    name, version = "kdpp", 1
    paper = Paper(
        "Improving Knowledge Distillation via Regularizing Feature Norm and Direction",
        "Yuzhu Wang, Lechao Cheng, Manni Duan, Yongheng Wang, Zunlei Feng, Shu Kong",
        2023,
        "2305.17007",
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding", "images"})
    expected_failed_checks = {"uses_every_weight": "KD weighs nothing in the first epoch, all that the check runs"}

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
        direction_weight: float = Field(2.0, ge=0, description="weight of the embedding's norm and direction")
        warm_up_share: float = Field(1 / 12, gt=0, description="part of the training in which KD grows to its weight")
        dropout: float = Field(0.5, ge=0, lt=1, description="dropout in r")

    train_labels: Tensor
    centres: Tensor

    def build(self, setup: Setup) -> None:
        width_s, width_t = setup.student.embedding, setup.teacher.embedding
        self.embed = None if width_s == width_t else embedder(width_s, width_t)
        self.register_buffer("centres", torch.zeros(setup.num_classes, width_t))
        self.register_buffer("train_labels", setup.train_labels)
        self.images, self.read_teacher, self.generator = setup.images, setup.read_teacher, setup.generator
        self.epochs, self.batch_size, self.num_views = setup.epochs, setup.batch_size, setup.num_views

    @torch.no_grad()
    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        if epoch > 0:
            return
        labels, device = self.train_labels, self.train_labels.device
        one_hot = F.one_hot(labels, len(self.centres)).float()
        view = torch.randint(self.num_views, labels.shape, generator=self.generator, device=device)
        self.centres.zero_()
        for index in torch.arange(len(labels), device=device).split(self.batch_size):
            self.centres += one_hot[index].T @ self.read_teacher(self.images(index, view[index])).embedding
        self.centres /= one_hot.sum(dim=0).clamp(min=1)[:, None]

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        warm_up = (batch.epoch / (p.warm_up_share * self.epochs)).clamp(max=1)
        direction = shortfall(self.embedded(student.embedding), teacher.embedding, self.centres[batch.labels])
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * warm_up * kd_loss(student.logits, teacher.logits, p.temperature),
            "direction": p.direction_weight * direction.mean(),
        }

    def embedded(self, embedding: Tensor) -> Tensor:
        """r(e_s), (B, D) of the teacher's width."""
        if self.embed is None:
            return embedding
        norm, linear = self.embed
        return linear(self.drop(norm(embedding[:, :, None, None])[:, :, 0, 0]))

    def drop(self, embedding: Tensor) -> Tensor:
        """Dropout, drawn from the method's own generator."""
        return embedding * self.kept(embedding) / (1 - self.params.dropout)

    def kept(self, embedding: Tensor) -> Tensor:
        """(B, D): which values dropout keeps."""
        return torch.rand(embedding.shape, generator=self.generator, device=embedding.device) >= self.params.dropout


def embedder(in_width: int, width: int) -> nn.ModuleList:
    """Batch norm and the linear layer, between which dropout stands."""
    linear = nn.Linear(in_width, width)
    nn.init.zeros_(linear.bias)
    return nn.ModuleList([BatchNorm(in_width), linear])


def shortfall(student: Tensor, teacher: Tensor, centre: Tensor) -> Tensor:
    """What (B, D) embeddings lack in the direction of (B, D) class means, over the longer one's norm: (B,)."""
    longest = student.norm(dim=1).maximum(teacher.norm(dim=1)).clamp(min=1e-12)
    return 1 - (student * F.normalize(centre, dim=1)).sum(dim=1) / longest
