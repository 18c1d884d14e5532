"""Factor transfer (Kim et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup, Stage
from kdbench_methods.parts.layers import BatchNorm, same_size
from kdbench_methods.parts.with_kd import WithKD


class FT(WithKD):
    """The student translates its last map into factors that paraphrase the teacher's.

    Stage "paraphraser":  L = mean (decode(encode(f_t)) - f_t)^2
    Then:                 L = CE(z_s, y) + factor_weight * mean |Q(translate(f_s)) - Q(encode(f_t))|

    Q(f) = mean_c f_c^2 as a vector of unit length.

    As the code of Tian et al. (HobbitLong/RepDistiller, distiller_zoo/FT.py, models/util.py and helper/pretrain.py,
    commit b84f547), whose weight it is: paraphraser without batch norm, translator with it, the student idle in the
    first stage, that stage's learning rate 0.01 (the student's own for VGG students, where a suite says so). The
    authors (Jangho-Kim/Factor-Transfer-pytorch, commit e8d6ac6) take all of f as one vector, weigh 500, reconstruct by
    absolute differences and have no batch norm; published CIFAR-100 tables do not have these.
    """

    name, version = "ft", 2
    paper = Paper(
        "Paraphrasing Complex Network: Network Compression via Factor Transfer",
        "Jangho Kim, SeongUk Park, Nojun Kwak",
        2018,
        "1802.04977",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        factor_weight: float = Field(200.0, ge=0, description="weight of the factors' distance")
        paraphrase_rate: float = Field(0.5, gt=0, description="k, channels of the factors over the teacher's")
        paraphrase_epochs: int = Field(30, ge=1, description="epochs of the paraphraser's stage")
        paraphrase_learning_rate: float = Field(0.01, gt=0, description="learning rate of that stage")

    def build(self, setup: Setup) -> None:
        in_channels, channels = setup.student.features[-1][0], setup.teacher.features[-1][0]
        factors = max(1, int(channels * self.params.paraphrase_rate))
        self.encode = three(nn.Conv2d, channels, channels, factors)
        self.decode = three(nn.ConvTranspose2d, factors, factors, channels)
        self.translate = three(nn.Conv2d, in_channels, in_channels, factors, norm=True)

    def stages(self) -> Sequence[Stage]:
        p = self.params
        reads = frozenset({"teacher.features"})
        return [Stage("paraphraser", p.paraphrase_epochs, self.paraphrase, p.paraphrase_learning_rate, reads)]

    def paraphrase(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        f_t = teacher.features[-1]
        return {"reconstruction": F.mse_loss(self.decode(self.encode(f_t)), f_t)}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        with torch.no_grad():
            factors = self.encode(teacher.features[-1])
        factor = factor_loss(self.translate(student.features[-1]), factors)
        return {**self.ce_and_kd(batch, student, teacher), "factor": self.params.factor_weight * factor}


def factor_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean absolute difference of Q of two (B, C, H, W) tensors; the larger is averaged down first."""
    student, teacher = same_size(student, teacher)
    q_s, q_t = (F.normalize(f.square().mean(dim=1).flatten(1), dim=1) for f in (student, teacher))
    return (q_s - q_t).abs().mean()


def three(
    conv: type[nn.Conv2d | nn.ConvTranspose2d], in_channels: int, mid: int, channels: int, norm: bool = False
) -> nn.Sequential:
    """Three 3 x 3 convolutions with leaky ReLUs."""
    layers: list[nn.Module] = []
    for a, b in ((in_channels, mid), (mid, channels), (channels, channels)):
        layers += [conv(a, b, 3, padding=1), *([BatchNorm(b)] if norm else []), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)
