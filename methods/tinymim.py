"""TinyMIM: distillation of token relations (Ren et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Setup, Stage


class TinyMIM(Method):
    """The student's tokens first learn to relate to each other as the teacher's do; then the student learns the labels.

    Stage "relations":  L = query_weight * d(q, k) + value_weight * d(v, v)
    Then:               L = CE(z_s, y)
    d(a, b) = mean over images, heads and tokens of KL(softmax(a_t b_t^T / sqrt(w_t)) || softmax(a_s b_s^T / sqrt(w_s)))

    q, k, v: queries, keys and values of the student's last block and of the teacher's at 3/4 of its depth, in as many
    heads as the teacher has, of widths w. Both parts together last as long as any training, each with its whole
    schedule.

    As the authors' code (OliverRensu/TinyMIM, models_tinymim.py, models_teacher.py, vit.py and engine_pretrain.py,
    commit d084705): relations, their weights, blocks (of its largest teacher; of others it takes the last), heads, and
    300 of 400 epochs. There the teacher was trained without labels, by filling in masked images; here it is the
    suite's. There blocks are dropped at random, and in the second part images are mixed and early layers learn more
    slowly; here the suite's recipe.
    """

    name, version = "tinymim", 1
    paper = Paper(
        "TinyMIM: An Empirical Study of Distilling MIM Pre-trained Models",
        "Sucheng Ren, Fangyun Wei, Zheng Zhang, Han Hu",
        2023,
        "2301.01296",
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.attention", "teacher.attention"})

    class Params(Method.Params):
        query_weight: float = Field(1.0, ge=0, description="weight of the relations of queries with keys")
        value_weight: float = Field(1.0, ge=0, description="weight of the relations of values with each other")
        relation_share: float = Field(0.75, gt=0, lt=1, description="part of the training that learns relations alone")

    def build(self, setup: Setup) -> None:
        *_, (tokens_s, width, _) = setup.student.attention
        *_, (tokens_t, _, self.heads), _ = setup.teacher.attention
        if tokens_s != tokens_t or width % self.heads:
            raise NotApplicable(
                f"{tokens_s} tokens of width {width} cannot relate as {tokens_t} in {self.heads} heads of the teacher"
            )
        self.epochs = setup.epochs

    def relation_epochs(self) -> int:
        """At least one, and of two or more epochs not all."""
        return max(1, min(round(self.params.relation_share * self.epochs), self.epochs - 1))

    def stages(self) -> Sequence[Stage]:
        requires = frozenset({"student.attention", "teacher.attention"})
        return [Stage("relations", self.relation_epochs(), self.relations, requires=requires, rescaled=True)]

    def main(self, epochs: int) -> Stage:
        return Stage("", max(1, epochs - self.relation_epochs()), self.loss, requires=frozenset({"student.logits"}))

    def relations(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        q_s, k_s, v_s = student.attention[-1].unflatten(3, (self.heads, -1)).transpose(2, 3)
        q_t, k_t, v_t = teacher.attention[-2].unflatten(3, (self.heads, -1)).transpose(2, 3)
        return {
            "queries": p.query_weight * divergence(relation(q_t, k_t), relation(q_s, k_s)),
            "values": p.value_weight * divergence(relation(v_t, v_t), relation(v_s, v_s)),
        }

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels)}


def relation(one: Tensor, other: Tensor) -> Tensor:
    """(B, heads, N, w) vectors to (B, heads, N, N) log-probabilities: how each of one relates to those of the other."""
    return (one @ other.mT / one.shape[3] ** 0.5).log_softmax(dim=3)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of (..., N) log-probabilities, averaged over all rows."""
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1).mean()
