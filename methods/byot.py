"""Be your own teacher, BYOT (Zhang et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.layers import BatchNorm


class BYOT(Method):
    """Heads on the student's shallower maps learn from its deepest head, and the maps below them learn with them.

    L = ce_weight * CE(z_s, y) + sum_l head_ce_weight * CE(z_l, y)
                                     + head_kd_weight * T^2 * KL(softmax(z_s / T) || softmax(z_l / T))
                                     + hint_weight * sum over channels of (e_l - e_s)^2, where one of them is positive

    z_l = W_l e_l: a head on map l, a bottleneck of three convolutions to the size of the last map and to the width of
    the embedding, and its mean. z_s and e_s teach without gradients. The student is the deepest head; the others and
    the ensemble, the mean of all logits, are recorded beside it.

    The conference paper's method is known second hand. As a reimplementation (train.py, models/resnet.py of
    github.com/luanyunteng/pytorch-be-your-own-teacher, commit 8045079): bottleneck and its initial weights, T, T^2, the
    weights of the other heads, mask and detached targets of the hint, whose 1e-6 is of a sum over batches of 128, here
    a mean. As the authors' later code (github.com/ArchipLab-LinfengZhang/pytorch-self-distillation-final, train.py,
    commit 47ca93b): the deepest head's weight of 1 and the ensemble; on purpose not its journal version's other
    weights, its missing T^2 and its linear layers before the hint.
    """

    name, version = "byot", 2
    paper = Paper(
        "Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via Self Distillation",
        "Linfeng Zhang, Jiebo Song, Anni Gao, Jingwei Chen, Chenglong Bao, Kaisheng Ma",
        2019,
        "1905.08094",
    )
    scheme = "self"
    knowledge = ("response", "feature")
    requires = frozenset({"student.logits", "student.embedding", "student.features"})

    class Params(Method.Params):
        temperature: float = Field(3.0, gt=0, description="T, softens the distributions of both heads")
        ce_weight: float = Field(1.0, ge=0, description="weight of the student's cross-entropy with the labels")
        head_ce_weight: float = Field(0.9, ge=0, description="weight of each other head's cross-entropy")
        head_kd_weight: float = Field(0.1, ge=0, description="weight of each other head's divergence from the student")
        hint_weight: float = Field(1.28e-4, ge=0, description="weight of each other head's distance to the embedding")

    def build(self, setup: Setup) -> None:
        *shallow, last = setup.student.features
        if not shallow:
            raise NotApplicable("the student offers a single feature map, and so no shallower head")
        width, classes = setup.student.embedding, setup.num_classes
        self.heads = nn.ModuleList(Head(shape, last, width, classes) for shape in shallow)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, y = self.params, batch.labels
        z_s, e_s = student.logits.detach(), student.embedding.detach()
        ces, kds, hints = [], [], []
        for head, feature in zip(self.heads, student.features[:-1], strict=True):
            z, e = head(feature)
            ces.append(F.cross_entropy(z, y))
            kds.append(kd_loss(z, z_s, p.temperature))
            hints.append(hint_loss(e, e_s))
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, y),
            "head_ce": p.head_ce_weight * torch.stack(ces).sum(),
            "head_kd": p.head_kd_weight * torch.stack(kds).sum(),
            "hint": p.hint_weight * torch.stack(hints).sum(),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        heads = {f"head {i + 1}": AtHeads(student, read, [head], i) for i, head in enumerate(self.heads)}
        return {**heads, "ensemble": AtHeads(student, read, self.heads, 0, with_student=True)}


class Head(nn.Module):
    """A classifier of a shallower map (C, H, W), by way of an embedding of a given width."""

    def __init__(self, shape: Sequence[int], last: Sequence[int], width: int, num_classes: int) -> None:
        super().__init__()
        channels, mid = shape[0], max(1, width // 4)
        step = (shape[1] // last[1], shape[2] // last[2])
        self.bottleneck = nn.Sequential(
            nn.Conv2d(channels, mid, 1),
            BatchNorm(mid),
            nn.ReLU(),
            nn.Conv2d(mid, mid, step, step),
            BatchNorm(mid),
            nn.ReLU(),
            nn.Conv2d(mid, width, 1),
            BatchNorm(width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(width, num_classes)
        for conv in (m for m in self.bottleneck if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and embedding (B, D) of a map (B, C_l, H_l, W_l)."""
        embedding = self.bottleneck(feature).mean(dim=(2, 3))
        return self.classifier(embedding), embedding


class AtHeads(nn.Module):
    """The mean logits of some heads, from the one on map `first` on, and of the student's own where it is wanted."""

    def __init__(
        self, student: nn.Module, read: Read, heads: Iterable[nn.Module], first: int, with_student: bool = False
    ) -> None:
        super().__init__()
        self.student, self.heads = student, nn.ModuleList(heads)
        self.read, self.first, self.with_student = read, first, with_student

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.read(images)
        logits = [head(outputs.features[self.first + i])[0] for i, head in enumerate(self.heads)]
        return torch.stack([*logits, outputs.logits] if self.with_student else logits).mean(dim=0)


def hint_loss(embedding: Tensor, target: Tensor) -> Tensor:
    """Squared distance of (B, D) embeddings where one of both is positive: summed, averaged over the batch."""
    counted = (embedding > 0) | (target > 0)
    return ((embedding - target).square() * counted).sum(dim=1).mean()
