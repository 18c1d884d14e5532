"""Multi-level logit distillation (Jin et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.strong_views import WithStrongViews


class MLLD(WithStrongViews):
    """What the teacher says of single images, of pairs of images and of pairs of classes, at several temperatures.

    L = ce_weight * (CE(z_a, y) + CE(z_b, y))
        + kd_weight * (u * sum_{T in 2, 3, 4, 5, 6} KD_T(a) + sum_{T in 3, 4, 5} KD_T(b) + sum_{T in 2, 6} KD_T(a))
        + batch_weight * u * sum_{T in 2, 3, 4, 5, 6} |P_s P_s^T - P_t P_t^T|^2 / B^2
        + class_weight * v * sum_{T in 2, 3, 4, 5, 6} |P_s^T P_s - P_t^T P_t|^2 / (B^2 C)

    a: the images; b: their strong views. KD_T = T^2 * KL(softmax(z_t / T) || softmax(z_s / T)). P: the (B, C)
    probabilities of view a at T. u: the share of images of which the teacher is no surer than of the median one; v: the
    share of classes that have no more of its probability than the median one. `temperature` is the 4 among the T.

    As the authors' code (Jin-Ying/Multi-Level-Logit-Distillation, mdistiller/distillers/KD_ours.py,
    mdistiller/engine/cfg.py and mdistiller/dataset/cifar100.py, commit 5ee473f): value and gradient are equal. There
    masks of confidence meet losses that are means already, and so weigh them by u and v; T of 2 and 6 are of view a in
    both parts; what is computed of batches and classes of view b is not added. There the products' distances are
    divided by B and by C and grow with the batch; here they are as large for any batch: 0.9 * 64 and 0.9 * 64^2 are the
    weights. There are 240 to 960 epochs at half the learning rate; here the suite's recipe.
    """

    name, version = "mlld", 2
    paper = Paper("Multi-Level Logit Distillation", "Ying Jin, Jiaqi Wang, Dahua Lin", 2023)
    scheme = "offline"
    knowledge = ("response", "relation")
    requires = frozenset({"student.logits", "teacher.logits", "strong_images"})
    deviations = ("every image is seen twice, also in a strong view",)

    class Params(WithStrongViews.Params):
        temperature: float = Field(4.0, gt=0, description="the middle one of five, beside 2, 3, 5 and 6")
        ce_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy with the labels, of each view")
        kd_weight: float = Field(0.9, ge=0, description="weight of the teacher's probabilities of single images")
        batch_weight: float = Field(57.6, ge=0, description="weight of the products of two images' probabilities")
        class_weight: float = Field(3686.4, ge=0, description="weight of the products of two classes' probabilities")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, size = self.params, len(batch.labels)
        (s_a, t_a), (s_b, t_b) = (student.logits, teacher.logits), self.strong_logits(batch)
        near, far = (3.0, p.temperature, 5.0), (2.0, 6.0)
        sure = t_a.softmax(dim=1)
        of_images, of_classes = share_below_median(sure.amax(dim=1)), share_below_median(sure.sum(dim=0))
        weak = torch.stack([kd_loss(s_a, t_a, T) for T in near + far])
        strong = torch.stack([kd_loss(s_b, t_b, T) for T in near])
        softened = [((s_a / T).softmax(dim=1), (t_a / T).softmax(dim=1)) for T in near + far]
        batches = torch.stack([product_distance(p_s, p_t) for p_s, p_t in softened]).sum() / size**2
        classes = torch.stack([product_distance(p_s.T, p_t.T) for p_s, p_t in softened]).sum() / size**2
        return {
            "ce": p.ce_weight * (F.cross_entropy(s_a, batch.labels) + F.cross_entropy(s_b, batch.labels)),
            "kd": p.kd_weight * (of_images * weak.sum() + strong.sum() + weak[len(near) :].sum()),
            "batch": p.batch_weight * of_images * batches,
            "class": p.class_weight * of_classes * classes / t_a.shape[1],
        }


def share_below_median(values: Tensor) -> Tensor:
    """(N,) values to the share of them that is no larger than their median, 0-dim."""
    ordered = values.sort().values
    median = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    return (values <= median).to(values).mean()


def product_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the products of all pairs of rows of (N, M) matrices, 0-dim."""
    return (student @ student.T - teacher @ teacher.T).square().sum()
