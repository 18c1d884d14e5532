"""Softmax regression representation learning (Yang et al. 2021)."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class SRRL(WithKD):
    """The student's embedding is the teacher's, and means the same to the teacher's classifier (eq. 4 to 7).

    L = CE(z_s, y) + KD + embedding_weight * mean (r(e_s) - e_t)^2 + regression_weight * mean (W_t(r(e_s)) - z_t)^2

    r is a linear map with batch norm and ReLU.

    As the code of Chen et al. (DefangChen/SimKD, models/util.py and helper/loops.py, commit 2b389c3), whose CIFAR-100
    tables report it: r after the mean over positions, and KD added. The authors' code is for ImageNet alone
    (jingyang2017/KD_SRRL, train_imagenet_distillation.py, commit d2e802f): r is a 1 x 1 convolution with normal initial
    weights before that mean, and there is no KD (nor in the suite `imagenet`). After the mean, every network with a
    linear classifier can be a student, whatever its last map is.
    """

    name, version = "srrl", 1
    paper = Paper(
        "Knowledge Distillation via Softmax Regression Representation Learning",
        "Jing Yang, Brais Martinez, Adrian Bulat, Georgios Tzimiropoulos",
        2021,
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(
        {"student.logits", "student.embedding", "teacher.logits", "teacher.embedding", "teacher.network"}
    )

    class Params(WithKD.Params):
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
        embedding_weight: float = Field(1.0, ge=0, description="weight of the embeddings' squared distance")
        regression_weight: float = Field(1.0, ge=0, description="weight of the logits' squared distance")

    def build(self, setup: Setup) -> None:
        self.classifier = copy.deepcopy(setup.teacher_network.get_classifier())
        if not isinstance(self.classifier, nn.Linear):
            raise NotApplicable("the teacher has no linear classifier of its embedding")
        self.linear = nn.Linear(setup.student.embedding, setup.teacher.embedding, bias=False)
        self.norm = BatchNorm(setup.teacher.embedding)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        e_s = self.norm(self.linear(student.embedding)[:, :, None, None])[:, :, 0, 0].relu()
        return {
            **self.ce_and_kd(batch, student, teacher),
            "embedding": p.embedding_weight * F.mse_loss(e_s, teacher.embedding),
            "regression": p.regression_weight * F.mse_loss(self.classifier(e_s), teacher.logits),
        }
