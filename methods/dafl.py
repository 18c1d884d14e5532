"""Data-free learning of student networks (Chen et al. 2019)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.data_free import DataFree


class DAFL(DataFree):
    """A generator makes images that the teacher is sure of, in all classes alike; the student learns KD on them.

    G:  L = one_hot_weight * CE(z_t, argmax z_t) - entropy_weight * H(mean softmax(z_t))
              - activation_weight * mean |e_t|
    S:  L = KL(softmax(z_t) || softmax(z_s))

    e_t is the teacher's embedding, H the entropy in decimal digits. Both networks learn from the same images in every
    step.

    As the authors' code (github.com/huawei-noah/Data-Efficient-Model-Compression, DAFL/DAFL-train.py, commit 5e8f4e4):
    both losses, the generator's layers, an epsilon of 0.8 in its inner batch norms among them, its Adam. Weights are
    those for MNIST, the generator's learning rate that for CIFAR; for CIFAR-10 their weights are 0.05, 5, 0.01, for
    CIFAR-100 0.5, 20, 0.1. On purpose otherwise: the student follows the suite's recipe (theirs: 2000 epochs of 120
    steps) and batch size (theirs: 1024), over which the entropy is taken, and its last epoch counts, not the one that
    was best on test data.
    """

    name, version = "dafl", 2
    paper = Paper(
        "Data-Free Learning of Student Networks",
        "Hanting Chen, Yunhe Wang, Chang Xu, Zhaohui Yang, Chuanjian Liu, Boxin Shi, Chunjing Xu, Chao Xu, Qi Tian",
        2019,
        "1904.01186",
    )
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits", "teacher.embedding"})
    tanh = True
    eps = 0.8

    class Params(DataFree.Params):
        generator_learning_rate: float = Field(0.02, gt=0, description="of the generator's Adam")
        one_hot_weight: float = Field(1.0, ge=0, description="weight of the teacher's certainty of each image")
        entropy_weight: float = Field(5.0, ge=0, description="weight of the balance of classes in a batch")
        activation_weight: float = Field(0.1, ge=0, description="weight of the size of the teacher's embedding")

    def inputs(self, batch: Batch) -> Batch:
        p = self.params
        images = self.generator(self.latents(self.batch_size))
        teacher = self.read_teacher(images)
        self.generator_adam.minimise(
            p.one_hot_weight * one_hot_loss(teacher.logits)
            - p.entropy_weight * batch_entropy(teacher.logits)
            - p.activation_weight * teacher.embedding.abs().mean()
        )
        return replace(batch, images=images.detach(), view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"kd": kd_loss(student.logits, teacher.logits, temperature=1.0)}


def one_hot_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of (B, C) logits with their own largest entry, averaged over the batch."""
    return F.cross_entropy(logits, logits.detach().argmax(dim=1))


def batch_entropy(logits: Tensor) -> Tensor:
    """Entropy, in decimal digits, of the mean over a batch of the classes' probabilities; from (B, C) logits."""
    log_mean = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return -(log_mean.exp() * log_mean).sum() / math.log(10)
