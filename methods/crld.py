"""Cross-view consistency regularisation, CRLD (Zhang et al. 2024)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.strong_views import WithStrongViews


class CRLD(WithStrongViews):
    """On an image and its strong view the student follows what the teacher says of the same view, and of the other.

    L = ce_weight * (CE(s_a, y) + CE(s_b, y))
        + within_weight * mean_i [p_a >= weak_confidence] * (KD(s_a, t_a) + KD(s_b, t_b))
        + cross_weight * mean_i [p_b >= strong_confidence] * (KD(s_b, t_a) + KD(s_a, t_b))

    a: the images, b: their strong views; s, t: logits of student and teacher. KD(s, t) = T^2 * KL(softmax(t / T) ||
    softmax(s / T)). p: the largest of the teacher's probabilities, at no temperature.

    As the authors' code in a copy, since their own repository (arcaninez/crld) could not be had (scx-822/CRLD-main,
    mdistiller/distillers/CRLD.py, mdistiller/engine/cfg.py and mdistiller/dataset/cifar100.py, commit c9d6657): value
    and gradient are equal, with its weights, temperature and confidences for CIFAR-100; strong views as there.
    """

    name, version = "crld", 2
    paper = Paper(
        "Cross-View Consistency Regularisation for Knowledge Distillation",
        "Weijia Zhang, Dongnan Liu, Weidong Cai, Chao Ma",
        2024,
        "2412.16493",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits", "strong_images"})
    deviations = ("every image is seen twice, also in a strong view",)
    checked_with = {"weak_confidence": 0.0, "strong_confidence": 0.0}  # the teachers of the checks are never sure

    class Params(WithStrongViews.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels, of each view")
        within_weight: float = Field(2.0, ge=0, description="weight of the teacher's answers on the same view")
        cross_weight: float = Field(0.5, ge=0, description="weight of the teacher's answers on the other view")
        weak_confidence: float = Field(0.9, ge=0, le=1, description="how sure of an image the teacher is at least")
        strong_confidence: float = Field(0.2, ge=0, le=1, description="the same of its strong view, for the other's")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        (s_a, t_a), (s_b, t_b) = (student.logits, teacher.logits), self.strong_logits(batch)
        sure_a, sure_b = (
            z.softmax(dim=1).amax(dim=1) >= least for z, least in ((t_a, p.weak_confidence), (t_b, p.strong_confidence))
        )
        within = divergences(s_a, t_a, p.temperature) + divergences(s_b, t_b, p.temperature)
        cross = divergences(s_b, t_a, p.temperature) + divergences(s_a, t_b, p.temperature)
        return {
            "ce": p.ce_weight * (F.cross_entropy(s_a, batch.labels) + F.cross_entropy(s_b, batch.labels)),
            "within": p.within_weight * (sure_a * within).mean(),
            "cross": p.cross_weight * (sure_b * cross).mean(),
        }


def divergences(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(p_t || p_s) of the softened (B, C) logits, of each image: (B,)."""
    log_s, log_t = ((z / temperature).log_softmax(dim=1) for z in (student_logits, teacher_logits))
    return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1)
