"""Knowledge review (Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class ReviewKD(WithKD):
    """Each teacher's map is matched by the student's map fused with all deeper ones (eq. 5 to 7).

    L = CE(z_s, y) + min((epoch + 1) / warm_up_epochs, 1) * review_weight * sum_l HCL(fused_l, f_l^t)

    Fusion goes from deep to shallow: fused_l = a * conv(f_l^s) + b * enlarged fused_{l+1}, with attention maps a and b
    computed from both. The embeddings count as the deepest maps. HCL compares at full size and averaged to 4, 2 and 1.
    The teacher's maps are those before their last ReLU, or its maps as they are where it declares none.

    As the authors' code (dvlab-research/ReviewKD, CIFAR-100/model/reviewkd.py and train.py, commit cede6ea): modules,
    their initial weights, targets before the ReLU, the student's maps after it (before it in their ImageNet code),
    reductions, weights of each student, no KD. Epochs count from 1, as in mdistiller (commit a08d46f): the authors'
    first epoch reviews nothing. There the teacher's batch norm uses the batch, here, as in mdistiller, it stays as it
    was evaluated. Batch size and optimizer are the suite's (theirs: 128, Nesterov).
    """

    name, version = "reviewkd", 2
    paper = Paper(
        "Distilling Knowledge via Knowledge Review",
        "Pengguang Chen, Shu Liu, Hengshuang Zhao, Jiaya Jia",
        2021,
        "2104.09044",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(
        {"teacher.pre_activations"}
        | {f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "features", "embedding")}
    )

    class Params(WithKD.Params):
        review_weight: float = Field(5.0, ge=0, description="weight of the hierarchical context losses")
        warm_up_epochs: int = Field(20, ge=1, description="epochs over which it grows to its weight")
        max_width: int = Field(512, ge=1, description="channels of the fused maps, at most")

    def build(self, setup: Setup) -> None:
        ins = [*(c for c, _, _ in setup.student.features), setup.student.embedding]
        outs = [*(c for c, _, _ in setup.teacher.features), setup.teacher.embedding]
        mid = min(self.params.max_width, ins[-1])
        self.fusions = nn.ModuleList(
            Fusion(i, mid, o, is_deepest=level == len(ins) - 1)
            for level, (i, o) in enumerate(zip(ins, outs, strict=True))
        )

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        f_s = [*student.features, student.embedding[:, :, None, None]]
        f_t = [*teacher.pre_activations, teacher.embedding[:, :, None, None]]
        review: list[Tensor] = []
        fused: Tensor | None = None
        for fusion, own, target in reversed(list(zip(self.fusions, f_s, f_t, strict=True))):
            fused, matched = fusion(own, fused, (target.shape[2], target.shape[3]))
            review.append(context_loss(matched, target))
        warm_up = ((batch.epoch + 1) / p.warm_up_epochs).clamp(max=1)
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "review": warm_up * p.review_weight * torch.stack(review).sum()}


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of a map with the fused deeper ones."""

    def __init__(self, in_channels: int, mid: int, channels: int, is_deepest: bool) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(in_channels, mid, 1, bias=False), BatchNorm(mid))
        self.expand = nn.Sequential(nn.Conv2d(mid, channels, 3, padding=1, bias=False), BatchNorm(channels))
        self.attend = None if is_deepest else nn.Sequential(nn.Conv2d(2 * mid, 2, 1), nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_uniform_(module.weight, a=1)

    def forward(self, own: Tensor, deeper: Tensor | None, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Fused (B, mid, H, W) and matched (B, C, H, W) maps in the teacher's size."""
        fused = self.reduce(own)
        if self.attend is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:], mode="nearest")
            a, b = self.attend(torch.cat([fused, deeper], dim=1)).split(1, dim=1)
            fused = a * fused + b * deeper
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size, mode="nearest")
        return fused, self.expand(fused)


def context_loss(student_map: Tensor, teacher_map: Tensor, levels: Sequence[int] = (4, 2, 1)) -> Tensor:
    """Hierarchical context loss (HCL) of two (B, C, H, W) maps: mean squared errors, weighed 1, 1/2, 1/4, 1/8."""
    loss, weight, total = F.mse_loss(student_map, teacher_map), 1.0, 1.0
    for level in levels:
        if level < student_map.shape[2]:
            weight /= 2
            s, t = (F.adaptive_avg_pool2d(f, level) for f in (student_map, teacher_map))
            loss, total = loss + weight * F.mse_loss(s, t), total + weight
    return loss / total
