"""The instance relationship graph (Liu et al. 2019)."""

from __future__ import annotations

from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class IRG(WithKD):
    """The graph of squared distances between the images of a batch is the teacher's (eq. 5, its edges).

    L = CE(z_s, y) + graph_weight * sum_ij (A_ij^s - A_ij^t)^2 / 2B,    A_ij = |e_i - e_j|^2 / max |e_k - e_l|^2

    As the authors' code (yufanLIU/IRG, IRG.prototxt and batch_euclidean_map_layer.cpp, commit 0a6837c): the graph of
    the embeddings, its weight and both sums are theirs; so is the gradient, which their layer passes to the first image
    of each pair alone and not through the largest distance: half of the true one. Different on purpose: the paper's
    transformations of graphs between two blocks of a stage (IRG_Transformation.prototxt) are not compared, since a
    network offers one map a stage.
    """

    name, version = "irg", 2
    paper = Paper(
        "Knowledge Distillation via Instance Relationship Graph",
        "Yufan Liu, Jiajiong Cao, Bing Li, Chunfeng Yuan, Weiming Hu, Yangxi Li, Yunqiang Duan",
        2019,
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    expected_failed_checks = {"averages_over_the_batch": "the authors sum over pairs of images and divide by B once"}

    class Params(WithKD.Params):
        graph_weight: float = Field(0.005, ge=0, description="weight of the graphs' distance")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        graph = graph_loss(student.embedding, teacher.embedding)
        return {**self.ce_and_kd(batch, student, teacher), "graph": self.params.graph_weight * graph}


def graph_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of the graphs of two (B, D) embeddings: summed over pairs, over 2 B."""
    return (graph(student) - graph(teacher)).square().sum() / (2 * len(student))


def graph(embedding: Tensor, eps: float = 1e-12) -> Tensor:
    """(B, D) to (B, B): squared distances in units of the largest; only the first image of a pair gets a gradient."""
    squared = (embedding[:, None] - embedding.detach()).square().sum(dim=2)
    return squared / squared.detach().max().clamp(min=eps)
