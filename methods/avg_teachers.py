"""Knowledge distillation from several teachers at once (Hinton et al. 2015)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs, Paper, Setup
from kdbench_methods.kd import KD
from kdbench_methods.parts.team import further_teachers, team_logits


class AvgTeachers(Method):
    """The student matches the mean of several teachers' class probabilities, softened by a temperature.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(mean_k softmax(z_k / T) || softmax(z_s / T))

    The arithmetic mean is the first of the two that the paper names for an ensemble; You et al. (2017) take it as well,
    beside triplets of their own. Defaults are those of `kd`, so that the number of teachers is the only difference.

    Known second hand: neither paper has code. As the average in the code of AEKD's authors (github.com/AnTuo1998/AE-KD,
    DistillKL of distiller_zoo/KD.py, commit 68f490e), of probabilities softened first; averaging the divergences
    instead has the same gradient.
    """

    name, version = "avg_teachers", 1
    paper = Paper(
        "Distilling the Knowledge in a Neural Network", "Geoffrey Hinton, Oriol Vinyals, Jeff Dean", 2015, "1503.02531"
    )
    scheme = "offline"
    knowledge = ("response",)
    families = ("multi_teacher",)
    requires = frozenset({"student.logits", "teacher.logits", "team"})

    class Params(KD.Params):
        pass

    def build(self, setup: Setup) -> None:
        self.others = further_teachers(setup)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        logits = team_logits(teacher, self.others, batch.images)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * averaged_kd_loss(student.logits, logits, p.temperature),
        }


def averaged_kd_loss(student_logits: Tensor, team: Tensor, temperature: float) -> Tensor:
    """T^2 * KL from the mean of the (K, B, C) teachers' softened probabilities, averaged over the batch."""
    log_each = (team / temperature).log_softmax(dim=2)
    log_mean = log_each.logsumexp(dim=0) - math.log(len(team))
    log_s = (student_logits / temperature).log_softmax(dim=1)
    return temperature**2 * F.kl_div(log_s, log_mean, reduction="batchmean", log_target=True)
