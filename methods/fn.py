"""Feature-normalised knowledge distillation (Xu et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.parts.with_kd import WithKD


class FN(WithKD):
    """KD in which each image has its own temperature: the length of its embedding (eq. 9).

    L = CE(z_s, y) + normalised_weight * H(softmax(n(z_t, e_t)), softmax(n(z_s, e_s)))
    n(z, e) = (z - b) * min(1, length / |e|) + b,    b the bias of the network's classifier

    As the authors' code (aztc/FNKD, train_gluon_script_cifar.py and models/symbol_Resnet_cifar.py, commit 099b6ca):
    lengths, which it caps where the paper fixes them, biases, that both networks are shortened, weight, reduction.
    """

    name, version = "fn", 2
    paper = Paper(
        "Feature Normalized Knowledge Distillation for Image Classification",
        "Kunran Xu, Lai Rui, Yishi Li, Lin Gu",
        2020,
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset(
        f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "embedding", "network")
    )

    class Params(WithKD.Params):
        normalised_weight: float = Field(9.0, ge=0, description="weight of the normalised soft labels")
        length: float = Field(2.0, gt=0, description="the embeddings' length, at most")

    teacher_bias: Tensor

    def build(self, setup: Setup) -> None:
        self.student_bias = (bias_of("student", setup.student_network),)  # in a tuple: it stays the student's parameter
        self.register_buffer("teacher_bias", bias_of("teacher", setup.teacher_network).detach().clone())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        z_s = normalised(student.logits, student.embedding, self.student_bias[0], p.length)
        z_t = normalised(teacher.logits, teacher.embedding, self.teacher_bias, p.length)
        soft = F.cross_entropy(z_s, z_t.softmax(dim=1))
        return {**self.ce_and_kd(batch, student, teacher), "normalised": p.normalised_weight * soft}


def normalised(logits: Tensor, embedding: Tensor, bias: Tensor, length: float) -> Tensor:
    """(B, C) logits of a (B, D) embedding that is shortened to a length, under a classifier of (C,) bias."""
    shortened = (length / embedding.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
    return (logits - bias) * shortened + bias


def bias_of(role: str, network: Any) -> Tensor:
    """The (C,) bias of a network's classifier.

    Raises:
        NotApplicable: it has no single linear classifier.
    """
    classifier = network.get_classifier()
    if not isinstance(classifier, nn.Linear):
        raise NotApplicable(f"the {role} has no single linear classifier of its embedding")
    return classifier.weight.new_zeros(len(classifier.weight)) if classifier.bias is None else classifier.bias
