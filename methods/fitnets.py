"""Hints from the teacher's middle layer (Romero et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup, Stage
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class FitNets(WithKD):
    """The student's middle feature map, through a learned regressor r, matches the teacher's (eq. 3).

    L = CE(z_s, y) + hint_weight * mean((r(f_s) - f_t)^2)

    One stage, as in the common CIFAR-100 comparisons. The paper first trains up to the hint layer on the hint alone,
    then by KD: `hint_epochs`, with hint_weight 0 and a kd_weight. The hint is the middle one of the matched maps, the
    shallower of two: where both networks have three or four stages, the end of the second.

    As the code of Tian et al. (HobbitLong/RepDistiller, models/util.py and train_student.py, commit b84f547): hint
    layer of such networks, regressor, its initial weights, reduction, weight. There a smaller student's map is refused,
    but for one of half the size; here it is enlarged first. The authors' code (adri-romsor/FitNets) is for Theano and
    not run.
    """

    name, version = "fitnets", 1
    paper = Paper(
        "FitNets: Hints for Thin Deep Nets",
        "Adriana Romero, Nicolas Ballas, Samira Ebrahimi Kahou, Antoine Chassang, Carlo Gatta, Yoshua Bengio",
        2015,
        "1412.6550",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        hint_weight: float = Field(100.0, ge=0, description="weight of the hint's mean squared error")
        hint_epochs: int = Field(0, ge=0, description="epochs of a stage before, on the hint alone")

    def build(self, setup: Setup) -> None:
        self.hint = (len(setup.student.features) - 1) // 2
        self.regressor = regressor(setup.student.features[self.hint], setup.teacher.features[self.hint])

    def stages(self) -> Sequence[Stage]:
        return [Stage("hint", self.params.hint_epochs, self.hint_stage)] if self.params.hint_epochs else []

    def hint_stage(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"hint": hint_loss(self.regressor(student.features[self.hint]), teacher.features[self.hint])}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        hint = hint_loss(self.regressor(student.features[self.hint]), teacher.features[self.hint])
        return {**self.ce_and_kd(batch, student, teacher), "hint": self.params.hint_weight * hint}


def hint_loss(regressed: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared error over all elements of two (B, C, H, W) maps."""
    return F.mse_loss(regressed, teacher_map)


def regressor(student: tuple[int, int, int], teacher: tuple[int, int, int]) -> nn.Sequential:
    """Convolution, batch norm and ReLU from the student's (C, H, W) to the teacher's.

    Sizes as in Tian et al. (2020); a map that is smaller than the teacher's, and not by two, is enlarged first.
    """
    (in_channels, *size), (channels, *target) = student, teacher
    conv: nn.Module
    if size == [2 * t for t in target]:
        conv = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1)
    elif [2 * s for s in size] == target:
        conv = nn.ConvTranspose2d(in_channels, channels, 4, stride=2, padding=1)
    elif all(s >= t for s, t in zip(size, target, strict=True)):
        conv = nn.Conv2d(in_channels, channels, (1 + size[0] - target[0], 1 + size[1] - target[1]))
    else:
        enlarge = nn.Upsample((target[0], target[1]), mode="bilinear")
        conv = nn.Sequential(enlarge, nn.Conv2d(in_channels, channels, 3, padding=1))
    return nn.Sequential(conv, BatchNorm(channels), nn.ReLU())
