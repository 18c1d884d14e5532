"""Scale decoupled distillation (Wei et al. 2024)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper
from kdbench_methods.ca_mkd import kd_losses

FINEST = 4  # regions along a side, from which those of coarser scales are averaged


class SDD(Method):
    """KD of the logits of an image's regions, at several scales, and more of those that say otherwise than the whole.

    L = ce_weight * CE(z_s, y) + kd_weight * mean_k w_k * T^2 * KL(softmax(z_k^t / T) || softmax(z_k^s / T))

    k: regions, which are the image itself, its 2 x 2 and its 4 x 4 parts. z_k: the classifier's logits of the mean of
    the last map over region k. w_k: `complementary_weight` where the teacher is right about the region and wrong about
    the image, or the other way round, else 1.

    As the authors' code (shicaiwei123/SDD-CVPR2024, mdistiller/distillers/KD.py, mdistiller/models/cifar/utils.py and
    mdistiller/engine/cfg.py, commit e412036), SD-KD: loss, regions, weights, temperature. Here all stays in logarithms,
    where theirs sets what is not a number to 0. Left out: SD-DKD and SD-NKD, the same of two other losses.
    """

    name, version = "sdd", 1
    paper = Paper("Scale Decoupled Distillation", "Shicai Wei, Chunbo Luo, Yang Luo", 2024, "2403.13512")
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.class_maps", "teacher.class_maps"})

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.9, ge=0, description="weight of the regions' divergences from the teacher")
        complementary_weight: float = Field(2.0, ge=0, description="w of regions that say otherwise than the whole")
        scales: int = Field(3, ge=1, le=3, description="how many of the scales of 1, 2 and 4 regions along a side")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        z_s, z_t = (regions(outputs.class_maps, p.scales) for outputs in (student, teacher))
        right = z_t.argmax(dim=2) == batch.labels
        w = torch.where(right == right[0], 1.0, p.complementary_weight)
        divergences = kd_losses(z_s.flatten(0, 1), z_t.flatten(0, 1), p.temperature)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * (w.flatten() * divergences).mean(),
        }


def regions(class_maps: Tensor, scales: int) -> Tensor:
    """(B, C, H, W) class maps to (N, B, C) logits of the regions of so many scales, the whole image first."""
    fine = F.adaptive_avg_pool2d(class_maps, FINEST)
    logits = [F.adaptive_avg_pool2d(fine, 2**scale).flatten(2) for scale in range(scales)]
    return torch.cat(logits, dim=2).permute(2, 0, 1)
