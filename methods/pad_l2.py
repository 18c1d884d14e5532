"""Prime-aware adaptive distillation (Zhang et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup, Stage
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class PADL2(WithKD):
    """The student's embedding follows the teacher's, least where its own variance, which it predicts, is large.

    Stage "warm_up":  L = CE(z_s, y) + pad_weight * mean (r(e_s) - e_t)^2
    Then:             L = CE(z_s, y) + pad_weight * mean [(r(e_s) - e_t)^2 / exp(v) + v]

    v: the log-variances, a linear layer of r(e_s) and batch norm. r: linear with batch norm where the embeddings'
    widths differ, else nothing. Both parts together last as long as any training, each with the whole schedule.

    Known second hand: the paper's code is not public. Loss (whose mean, it says, is that of code that the authors gave
    it), estimator of the variances, both stages, equally long, and weights as in yoshitomo-matsubara/torchdistill
    (torchdistill/losses/mid_level.py, torchdistill/models/wrapper.py and
    configs/sample/ilsvrc2012/pad/resnet18_from_resnet34.yaml, commit 3e4373c), for ImageNet and embeddings of one
    width: r is kdbench's. 1e-6 is not added to the variance.
    """

    name, version = "pad_l2", 1
    paper = Paper(
        "Prime-Aware Adaptive Distillation",
        "Youcai Zhang, Zhonghao Lan, Yuchen Dai, Fangao Zeng, Yan Bai, Jie Chang, Yichen Wei",
        2020,
        "2008.01458",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "embedding"))

    class Params(WithKD.Params):
        pad_weight: float = Field(1.0, ge=0, description="weight of the embeddings' distance under the variance")
        warm_up_share: float = Field(0.5, gt=0, lt=1, description="part of the training that has no variance yet")

    def build(self, setup: Setup) -> None:
        width_s, width_t = setup.student.embedding, setup.teacher.embedding
        self.epochs = setup.epochs
        self.embed = None if width_s == width_t else Normed(width_s, width_t)
        self.log_variance = Normed(width_t, width_t)

    def warm_up_epochs(self) -> int:
        """At least one, and of two or more epochs not all."""
        return max(1, min(round(self.params.warm_up_share * self.epochs), self.epochs - 1))

    def stages(self) -> Sequence[Stage]:
        return [Stage("warm_up", self.warm_up_epochs(), self.warm_up, rescaled=True)]

    def main(self, epochs: int) -> Stage:
        return Stage("", max(1, epochs - self.warm_up_epochs()), self.loss)

    def embedded(self, student: Outputs) -> Tensor:
        """r(e_s), (B, D)."""
        return student.embedding if self.embed is None else self.embed(student.embedding)

    def warm_up(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        distance = F.mse_loss(self.embedded(student), teacher.embedding)
        return {**self.ce_and_kd(batch, student, teacher), "pad": self.params.pad_weight * distance}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        e_s = self.embedded(student)
        v = self.log_variance(e_s)
        pad = ((e_s - teacher.embedding).square() / v.exp() + v).mean()
        return {**self.ce_and_kd(batch, student, teacher), "pad": self.params.pad_weight * pad}


class Normed(nn.Module):
    """A linear layer and batch norm."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(in_width, width), BatchNorm(width)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.norm(self.linear(embedding)[:, :, None, None])[:, :, 0, 0]
