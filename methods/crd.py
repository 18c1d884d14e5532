"""Contrastive representation distillation (Tian et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.with_kd import WithKD


class CRD(WithKD):
    """Embeddings of one image in both networks attract each other and repel those of other classes (eq. 17 to 19).

    With e_s, e_t the unit embeddings, m the memory bank of the *other* network, N images, K negatives and P = K / N:

    h(e, m) = exp(e . m / tau) / Z,  Z = N * (mean of exp(e . m / tau) over the first batch), constant from then on
    L = CE(z_s, y) + contrast_weight * sum_{e in (e_s, e_t)} -log(h+ / (h+ + P)) - sum_K log(P / (h- + P))

    Both embeddings are trained. Banks start uniform in +-sqrt(3 / dim) and follow their network:
    m <- normalize(momentum * m + (1 - momentum) * e). Negatives are drawn without replacement among other classes,
    at most as many as there are. Scores come from one product with the whole bank, which costs less than gathering.

    As the authors' code (HobbitLong/RepDistiller, crd/criterion.py, crd/memory.py and dataset/cifar100.py, commit
    b84f547): embeddings, banks, their order of update, constants, eps, reductions, weight, both directions. Where other
    classes hold fewer than K images, that code draws with replacement; here K is as many as there are.
    """

    name, version = "crd", 1
    paper = Paper(
        "Contrastive Representation Distillation", "Yonglong Tian, Dilip Krishnan, Phillip Isola", 2020, "1910.10699"
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    class Params(WithKD.Params):
        contrast_weight: float = Field(0.8, ge=0, description="weight of the contrastive loss")
        negatives: int = Field(16384, ge=1, description="K, negatives an image; at most what other classes hold")
        contrast_temperature: float = Field(0.07, gt=0, description="tau, of the contrastive scores")
        bank_momentum: float = Field(0.5, ge=0, lt=1, description="how much of its old value a bank's row keeps")
        dim: int = Field(128, ge=1, description="width of the embeddings")

    train_labels: Tensor
    student_bank: Tensor
    teacher_bank: Tensor
    student_z: Tensor
    teacher_z: Tensor

    def build(self, setup: Setup) -> None:
        p, n = self.params, len(setup.train_labels)
        self.generator = setup.generator
        self.num_negatives = min(p.negatives, n - int(setup.train_labels.bincount().max()))
        self.embed_student = nn.Linear(setup.student.embedding, p.dim)
        self.embed_teacher = nn.Linear(setup.teacher.embedding, p.dim)
        bound = (3 / p.dim) ** 0.5
        self.register_buffer("train_labels", setup.train_labels)
        self.register_buffer("student_bank", torch.empty(n, p.dim).uniform_(-bound, bound))
        self.register_buffer("teacher_bank", torch.empty(n, p.dim).uniform_(-bound, bound))
        self.register_buffer("student_z", torch.zeros(()))
        self.register_buffer("teacher_z", torch.zeros(()))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        e_s = F.normalize(self.embed_student(student.embedding), dim=1)
        e_t = F.normalize(self.embed_teacher(teacher.embedding), dim=1)
        drawn = self.draw_negatives(batch.labels)
        s_scores = contrast_scores(e_s, self.teacher_bank, batch.index, drawn, p.contrast_temperature)
        t_scores = contrast_scores(e_t, self.student_bank, batch.index, drawn, p.contrast_temperature)
        n = len(self.train_labels)
        self.student_z.copy_(torch.where(self.student_z > 0, self.student_z, n * s_scores.detach().mean()))
        self.teacher_z.copy_(torch.where(self.teacher_z > 0, self.teacher_z, n * t_scores.detach().mean()))
        contrast = nce_loss(s_scores / self.student_z, n) + nce_loss(t_scores / self.teacher_z, n)
        self.update_bank(self.student_bank, batch.index, e_s)
        self.update_bank(self.teacher_bank, batch.index, e_t)
        return {**self.ce_and_kd(batch, student, teacher), "contrast": p.contrast_weight * contrast}

    def draw_negatives(self, labels: Tensor) -> Tensor:
        """(B,) labels to (B, K) rows of other classes, without replacement: the top K of random keys."""
        keys = torch.rand(len(labels), len(self.train_labels), generator=self.generator, device=labels.device)
        keys = keys.masked_fill(labels[:, None] == self.train_labels, -1)
        return keys.topk(self.num_negatives, dim=1, sorted=False).indices

    @torch.no_grad()
    def update_bank(self, bank: Tensor, index: Tensor, embedding: Tensor) -> None:
        momentum = self.params.bank_momentum
        bank[index] = F.normalize(momentum * bank[index] + (1 - momentum) * embedding, dim=1)


def contrast_scores(embedding: Tensor, bank: Tensor, index: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """exp(e . m / tau): (B, D) embeddings with the (N, D) bank's own row and K negatives, to (B, 1 + K)."""
    rows = torch.cat([index[:, None], negatives], dim=1)
    return ((embedding @ bank.T.clone()) / temperature).gather(1, rows).exp()


def nce_loss(scores: Tensor, num_samples: int, eps: float = 1e-7) -> Tensor:
    """Noise-contrastive estimation over (B, 1 + K) scores, the positive first; summed over K, averaged over B."""
    noise = (scores.shape[1] - 1) / num_samples
    positive, negative = scores[:, :1], scores[:, 1:]
    log_positive = (positive / (positive + noise + eps)).log()
    log_negative = (noise / (negative + noise + eps)).log()
    return -(log_positive.sum() + log_negative.sum()) / len(scores)
