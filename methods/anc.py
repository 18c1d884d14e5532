"""Adversarial network compression (Belagiannis et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Adam, Batch, Field, Method, Outputs, Paper, Setup


class ANC(Method):
    """The student, without labels, makes embeddings that a discriminator takes for the teacher's, and its logits.

    Discriminator:  min  BCE(D(e_t), 1) + BCE(D(e_s), 0) + regulariser_weight * BCE(D(e_s), 1)
    Student:        L = logits_weight * mean (z_s - z_t)^2 + adversarial_weight * BCE(D(e_s), 1)

    e: the vector before the classifier; the student's with dropout, which is its noise, and through a linear layer
    where widths differ. D: three hidden layers of 128, 256 and 128; it moves first in each step. Its regulariser takes
    the student for the teacher, lest it win at once.

    Known second hand: the paper came without code. Weights and D as in deepmd/Distil-2D-3D (libs/train/anc.py and
    libs/models/discriminators/anc.py, commit 4067b6b), for videos. Different on purpose: there D's second term sees e_s
    without dropout, so that it learns what dropout looks like and the student's term vanishes; D moves after the
    student; and SGD trains D, whose rate falls with the student's, here Adam at that rate from first to last.
    """

    name, version = "anc", 1
    paper = Paper(
        "Adversarial Network Compression", "Vasileios Belagiannis, Azade Farshad, Fabio Galasso", 2018, "1803.10750"
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    families = ("adversarial",)
    requires = frozenset(f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "embedding"))

    class Params(Method.Params):
        ce_weight: float = Field(
            0.0, ge=0, description="weight of the cross-entropy with the labels (none in the paper)"
        )
        logits_weight: float = Field(1.0, ge=0, description="weight of the logits' mean squared distance")
        adversarial_weight: float = Field(1.0, ge=0, description="weight of the discriminator's verdict on the student")
        regulariser_weight: float = Field(1.0, ge=0, description="weight of the discriminator's own regulariser")
        dropout: float = Field(0.5, ge=0, lt=1, description="share of the student's embedding that is dropped")
        discriminator_rate: float = Field(0.001, gt=0, description="learning rate of the discriminator")

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator
        width_s, width_t = setup.student.embedding, setup.teacher.embedding
        self.embed: nn.Module = nn.Identity() if width_s == width_t else nn.Linear(width_s, width_t)
        self.discriminator = discriminator(width_t)
        self.adam = Adam(self.discriminator.parameters(), self.params.discriminator_rate)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        e_s = self.embed(self.drop(student.embedding))
        told_t, told_s = self.discriminator(teacher.embedding), self.discriminator(e_s.detach())
        self.adam.minimise(verdict(told_t, 1.0) + verdict(told_s, 0.0) + p.regulariser_weight * verdict(told_s, 1.0))
        terms = {
            "logits": p.logits_weight * F.mse_loss(student.logits, teacher.logits),
            "adversarial": p.adversarial_weight * verdict(self.discriminator(e_s), 1.0),
        }
        if p.ce_weight > 0:
            terms["ce"] = p.ce_weight * F.cross_entropy(student.logits, batch.labels)
        return terms

    def drop(self, embedding: Tensor) -> Tensor:
        """Dropout, drawn from the method's own generator."""
        share = self.params.dropout
        kept = torch.rand(embedding.shape, generator=self.generator, device=embedding.device) >= share
        return embedding * kept / (1 - share)


def verdict(logits: Tensor, truth: float) -> Tensor:
    """Binary cross-entropy of (B, 1) logits, the teacher being 1 and the student 0: a mean over the batch."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, truth))


def discriminator(width: int) -> nn.Sequential:
    """(B, width) embeddings to (B, 1) logits: is it the teacher's?"""
    return nn.Sequential(
        nn.Linear(width, 128),
        nn.ReLU(),
        nn.Linear(128, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 1),
    )
