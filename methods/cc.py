"""Correlation congruence (Peng et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.with_kd import WithKD


class CC(WithKD):
    """Differences from the teacher's embedding are uncorrelated between neighbours of the batch.

    L = CE(z_s, y) + correlation_weight * mean_i sum_d |delta_i * delta_{i+1}|,    delta = r_s(e_s) - r_t(e_t)

    r_s and r_t are learned linear maps, and both are trained. The paper correlates all pairs through a kernel.

    As the code that the authors gave to Tian et al. (HobbitLong/RepDistiller, distiller_zoo/CC.py, commit b84f547),
    whose tables report it: embeddings, order within the batch, reduction, weight. A batch of one image, of which that
    code's mean is undefined, costs nothing.
    """

    name, version = "cc", 1
    paper = Paper(
        "Correlation Congruence for Knowledge Distillation",
        "Baoyun Peng, Xiao Jin, Jiaheng Liu, Shunfeng Zhou, Yichao Wu, Yu Liu, Dongsheng Li, Zhaoning Zhang",
        2019,
        "1904.01802",
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    class Params(WithKD.Params):
        correlation_weight: float = Field(0.02, ge=0, description="weight of the neighbours' correlation")
        dim: int = Field(128, ge=1, description="width of the linear maps' outputs")

    def build(self, setup: Setup) -> None:
        self.embed_student = nn.Linear(setup.student.embedding, self.params.dim)
        self.embed_teacher = nn.Linear(setup.teacher.embedding, self.params.dim)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        correlation = correlation_loss(self.embed_student(student.embedding), self.embed_teacher(teacher.embedding))
        return {**self.ce_and_kd(batch, student, teacher), "correlation": self.params.correlation_weight * correlation}


def correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Products of neighbouring rows of the difference of two (B, D) tensors: summed over D, mean over neighbours."""
    delta = (student - teacher).abs()
    return (delta[:-1] * delta[1:]).sum() / max(len(delta) - 1, 1)
