"""What methods share whose teacher is the student's own architecture, trained before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, OwnNetworks, Read, Setup, Stage
from kdbench_methods.kd import kd_loss


class Generations(Method):
    """Base of methods in which each network is taught by the one before it; the student is the last.

    Generation 0:  L = CE(z_0, y)
    Generation k:  L = ce_weight * CE(z_k, y) + kd_weight * T^2 * KL(softmax(z_{k-1} / T) || softmax(z_k / T))

    Each begins from fresh weights and is trained as long as the student.
    """

    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})
    deviations = ("each generation begins from weights of its own",)

    class Params(Method.Params):
        temperature: float = Field(1.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the generation before")

    def make(self, setup: Setup, count: int) -> None:
        """In `build`: so many networks before the student."""
        self.epochs = setup.epochs
        self.earlier = OwnNetworks(setup.network("student") for _ in range(count))

    def stages(self) -> Sequence[Stage]:
        return [
            Stage(f"generation_{k}", self.epochs, partial(self.generation, k), requires=frozenset())
            for k in range(len(self.earlier))
        ]

    def generation(self, k: int, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """The loss of generation k, before the student's."""
        return self.terms(k, self.earlier[k](batch.images).logits, batch)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.terms(len(self.earlier), student.logits, batch)

    def terms(self, k: int, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What generation k learns from, by its (B, C) logits."""
        ce = F.cross_entropy(logits, batch.labels)
        if k == 0:
            return {"ce": ce}
        p, before = self.params, self.earlier[k - 1].frozen(batch.images).logits
        return {"ce": p.ce_weight * ce, "kd": p.kd_weight * kd_loss(logits, before, p.temperature)}

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return {f"generation {k}": network.model for k, network in enumerate(self.earlier)}
