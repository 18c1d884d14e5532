"""Dense cross-layer mutual-distillation (Yao and Sun 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Read, Setup, Stage
from kdbench_methods.parts.branches import LongBranch, Shape
from kdbench_methods.parts.peers import make_peers, peer_models


class DCM(Method):
    """Two networks learn together, every classifier of the one from every classifier of the other.

    L = sum_k ce_weight * CE(z_k, y) + mutual_weight * sum_ij (KL(p_j || p_i) + KL(p_i || p_j))

    k: the classifiers of both networks; i: those of the one, j: those of the other. The teaching side of each KL is a
    constant. A network's classifiers are its own and two more, on branches from the ends of its last stage but two
    and but one. The branches are dropped after training. The peer has the teacher's architecture and initial weights
    of its own; the trained teacher is not read.

    As the authors' code (sundw2014/DCM, wrn/main.py, wrn/resnet.py and wrn/KL_divergence.py, commit df2f5f6):
    classifiers and the shapes of their branches, all pairs of classifiers, weights of 1, no temperature, one forward
    and one step of both. There a branch has the blocks of its network's own kind, as many as its stages (n, and n / 2
    where it ends); here every network's are the wide ResNet's pre-activation blocks, four of them as in its WRN-28-10.
    1e-8 is not added to the probabilities.
    """

    name, version = "dcm", 1
    paper = Paper(
        "Knowledge Transfer via Dense Cross-Layer Mutual-Distillation", "Anbang Yao, Dawei Sun", 2020, "2008.07816"
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.features", "teacher.features", "teacher.network"})
    deviations = (
        "a further network is trained beside the student, from one forward pass",
        "the teacher's architecture is used, its trained weights are not read",
    )
    checked_with = {"blocks": 1}

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of each classifier's cross-entropy with the labels")
        mutual_weight: float = Field(1.0, ge=0, description="weight of each divergence between two classifiers")
        blocks: int = Field(4, ge=1, description="residual blocks a stage of the branches")

    def build(self, setup: Setup) -> None:
        if len(setup.student.features) < 2:
            raise NotApplicable("there is no feature map before the last, from which to branch")
        self.peers = make_peers(setup, "teacher", 1)
        blocks, classes = self.params.blocks, setup.num_classes
        self.branches_s = make_branches(setup.student.features, blocks, classes)
        self.branches_p = make_branches(setup.teacher.features, blocks, classes)

    def main(self, epochs: int) -> Stage:
        return Stage("", epochs, self.loss, requires=frozenset({"student.logits", "student.features"}))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, y = self.params, batch.labels
        own, peers = all_logits(self.branches_s, student), all_logits(self.branches_p, self.peers[0](batch.images))
        ce = {name: torch.stack([F.cross_entropy(z, y) for z in zs]) for name, zs in (("own", own), ("peer", peers))}
        return {
            "ce": p.ce_weight * ce["own"][-1],
            "branches_ce": p.ce_weight * ce["own"][:-1].sum(),
            "mutual": p.mutual_weight * divergences(own, peers),
            "peer_ce": p.ce_weight * ce["peer"].sum(),
            "peer_mutual": p.mutual_weight * divergences(peers, own),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.peers)


def make_branches(maps: Sequence[Shape], blocks: int, num_classes: int) -> nn.ModuleList:
    """From the last map but two to the shape of the last, and from the last but one to twice its width."""
    *_, low, last = maps
    wide = (2 * last[0], last[1], last[2])
    branches = [LongBranch((low, wide), (blocks,), num_classes)]
    if len(maps) > 2:
        branches.insert(0, LongBranch((maps[-3], low, last), (blocks, max(1, blocks // 2)), num_classes))
    return nn.ModuleList(branches)


def all_logits(branches: nn.ModuleList, outputs: Outputs) -> list[Tensor]:
    """(B, C) logits of a network's branches, its own last."""
    maps = outputs.features[-1 - len(branches) : -1]
    return [*(branch(feature) for branch, feature in zip(branches, maps, strict=True)), outputs.logits]


def divergences(learners: list[Tensor], teachers: list[Tensor]) -> Tensor:
    """Sum over all pairs of (B, C) logits of KL(teacher || learner), averaged over the batch."""
    own = torch.stack([z.log_softmax(dim=1) for z in learners])[:, None]
    others = torch.stack([z.log_softmax(dim=1) for z in teachers]).detach()[None]
    return F.kl_div(own, others, reduction="none", log_target=True).sum() / len(learners[0])
