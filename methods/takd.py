"""Teacher assistants (Mirzadeh et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, NotApplicable, Outputs, OwnNetworks, Paper, Read, Setup, Stage
from kdbench_methods.kd import KD, kd_loss


class TAKD(Method):
    """Networks of middle size learn one from the next larger, and the student from the smallest of them.

    Stage "assistant i":  L = ce_weight * CE(z_i, y) + kd_weight * T^2 * KL(softmax(z_(i-1) / T) || softmax(z_i / T))
    Then:                 the same for the student, from the last assistant

    z_0 are the teacher's logits; the assistants are those that the suite gives for the pair, large to small, each
    trained as long as the student.

    As the authors' code (github.com/imirzadeh/Teacher-Assistant-Knowledge-Distillation, train.py, commit 0f8168f): a
    chain of trainings with (1 - lambda) * CE + lambda * T^2 * KL. On purpose otherwise: the code averages the
    divergence over the C classes as well (the default of nn.KLDivLoss), so that its lambda is C times the kd_weight
    here, where it is summed, as it is defined; it searches T and lambda for every pair, here they are those of `kd`, so
    that the assistants are the only difference; and it hands on the epoch that was best on test data, here the last.
    """

    name, version = "takd", 1
    paper = Paper(
        "Improved Knowledge Distillation via Teacher Assistant",
        "Seyed-Iman Mirzadeh, Mehrdad Farajtabar, Ang Li, Nir Levine, Akihiro Matsukawa, Hassan Ghasemzadeh",
        2020,
        "1902.03393",
    )
    scheme = "offline"
    knowledge = ("response",)
    families: ClassVar[tuple[str, ...]] = ("capacity_gap",)
    requires = frozenset({"student.logits", "teacher.logits", "assistants"})

    class Params(KD.Params):
        pass

    def build(self, setup: Setup) -> None:
        if not setup.assistants:
            raise NotApplicable("the suite gives no assistants between these two networks")
        self.assistants = OwnNetworks(setup.network(name) for name in setup.assistants)
        self.epochs = setup.epochs

    def stages(self) -> Sequence[Stage]:
        return [
            Stage(f"assistant {i + 1}", self.epochs, partial(self.teach, i), requires=self.reads(i))
            for i in range(len(self.assistants))
        ]

    def main(self, epochs: int) -> Stage:
        return Stage("", epochs, self.loss, requires=self.reads(len(self.assistants)) | {"student.logits"})

    def reads(self, learner: int) -> frozenset[str]:
        """What a learner (an assistant, or the student as the last) needs of the teacher."""
        return frozenset({"teacher.logits"} if learner == 0 else {})

    def taught_by(self, learner: int, images: Tensor, teacher: Outputs) -> list[Tensor]:
        """Logits of a learner's teachers."""
        return [self.assistants[learner - 1].frozen(images).logits if learner else teacher.logits]

    def teach(self, i: int, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """The stage of an assistant."""
        logits = self.assistants[i](batch.images).logits
        return self.ce_and_kd(logits, batch.labels, self.taught_by(i, batch.images, teacher))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        teachers = self.taught_by(len(self.assistants), batch.images, teacher)
        return self.ce_and_kd(student.logits, batch.labels, teachers)

    def ce_and_kd(self, logits: Tensor, labels: Tensor, teachers: Sequence[Tensor]) -> dict[str, Tensor]:
        """Cross-entropy, and KD from each of a learner's teachers: summed."""
        p = self.params
        return {
            "ce": p.ce_weight * F.cross_entropy(logits, labels),
            "kd": p.kd_weight * sum(kd_loss(logits, z, p.temperature) for z in teachers),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return {f"assistant {i}": network.model for i, network in enumerate(self.assistants, 1)}
