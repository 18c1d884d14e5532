"""Rocket launching (Zhou et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup
from kdbench_methods.parts.peers import make_peers, peer_models


class Rocket(Method):
    """The student, the light net, learns together with a booster, whose logits it is drawn to at every step (eq. 1).

    L = CE(z_b, y) + ce_weight * CE(z_s, y) + hint_weight * sum over classes of (z_s - z_b)^2

    z_b is a constant in the last term (gradient block). The booster has the teacher's architecture and initial weights
    of its own; the trained teacher is not read. With `share` the two have those convolutions in common that stand at
    the same place in both and have one shape: of a wide ResNet in a deeper one, its stem and all its blocks'.

    As the authors' code (zhougr1993/Rocket-Launching, rocket_interval.py, commit b820cc4): all terms, weight, gradient
    block, which convolutions are shared (batch norms and classifiers are each network's own). Networks of two families
    share nothing here; the code's share their stem in any case.
    """

    name, version = "rocket", 1
    paper = Paper(
        "Rocket Launching: A Universal and Efficient Framework for Training Well-performing Light Net",
        "Guorui Zhou, Ying Fan, Runpeng Cui, Weijie Bian, Xiaoqiang Zhu, Kun Gai",
        2018,
        "1708.04106",
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.network", "teacher.network"})
    deviations = (
        "a further network is trained beside the student, from one forward pass",
        "the teacher's architecture is used, its trained weights are not read",
    )

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of both networks' cross-entropies with the labels")
        hint_weight: float = Field(0.03, ge=0, description="weight of the logits' squared distance")
        share: bool = Field(True, description="whether both networks have convolutions in common")

    def build(self, setup: Setup) -> None:
        self.boosters = make_peers(setup, "teacher", 1)
        if self.params.share:
            share_convolutions(setup.student_network, self.boosters[0].model)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, booster = self.params, self.boosters[0](batch.images)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "hint": p.hint_weight * hint_loss(student.logits, booster.logits),
            "booster_ce": p.ce_weight * F.cross_entropy(booster.logits, batch.labels),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.boosters)


def hint_loss(learner: Tensor, guide: Tensor) -> Tensor:
    """Squared distance of (B, C) logits, the guide's being constants: summed over classes, averaged over the batch."""
    return (learner - guide.detach()).square().sum(dim=1).mean()


def share_convolutions(one: nn.Module, other: nn.Module) -> None:
    """Give the other network the convolutions of the one, where they have its name and shape."""
    convolutions = {name: module for name, module in one.named_modules() if isinstance(module, nn.Conv2d)}
    for name, module in other.named_modules():
        own = convolutions.get(name)
        if own is not None and isinstance(module, nn.Conv2d) and module.weight.shape == own.weight.shape:
            module.weight, module.bias = own.weight, own.bias
