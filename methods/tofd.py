"""Task-oriented feature distillation (Zhang et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Setup, Stage
from kdbench_methods.parts.layers import BatchNorm


class TOFD(Method):
    """Heads on all maps of both networks solve the task; the student's embeddings and logits follow the teacher's.

    Stage "heads":  L = sum_l CE(z_l^t, y)        (the teacher's heads alone learn)
    Then:           L = sum_l ce_weight * CE(z_l^s, y) + kd_weight * H(softmax(z_l^t / T), softmax(z_l^s / T))
                          + feature_weight * sqrt(mean over the batch of |W_l e_l^s - e_l^t|^2)
                          + orthogonal_weight * (|W_l W_l^T - I| + |W_l^T W_l - I|)

    l: the maps, the last of which has the networks' own embedding and logits; T = 1 + temperature_growth * (epoch + 1)
    / epochs. A head is a chain of separable convolutions through the shapes of the later maps, their mean, and a linear
    classifier. W_l: linear, from the student's width to the teacher's.

    As the authors' code (ArchipLab-LinfengZhang/Task-Oriented-Feature-Distillation, distill.py, utils.py and
    models/resnet.py, commit fcfd4be): all terms, heads, initial weights, weights, no T^2. There the distance is the
    norm over a batch of 128, here as large for any batch: 0.05 * sqrt(128) is the weight. There teachers are trained
    together with their heads, and normalise by the batch while they teach; here the suite's teacher stays as it was
    evaluated, and its heads learn before. There are cutout and 250 epochs; here the suite's recipe.
    """

    name, version = "tofd", 1
    paper = Paper(
        "Task-Oriented Feature Distillation",
        "Linfeng Zhang, Yukang Shi, Zuoqiang Shi, Kaisheng Ma, Chenglong Bao",
        2020,
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset(
        f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "embedding", "features")
    )

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of each head's cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of each head's cross-entropy with the teacher's")
        feature_weight: float = Field(0.566, ge=0, description="weight of the embeddings' distance")
        orthogonal_weight: float = Field(0.03, ge=0, description="weight of what the links W lack to be orthogonal")
        temperature_growth: float = Field(3.0, ge=0, description="what T grows by, from 1")
        heads_share: float = Field(0.25, gt=0, description="epochs of the teacher's heads, over those of the suite")

    def build(self, setup: Setup) -> None:
        maps_s, maps_t = setup.student.features, setup.teacher.features
        if len(maps_s) < 2:
            raise NotApplicable("there is no feature map before the last, on which to put a head")
        self.epochs = setup.epochs
        self.heads_s = nn.ModuleList(Head(maps_s[i:], setup.num_classes) for i in range(len(maps_s) - 1))
        self.heads_t = nn.ModuleList(Head(maps_t[i:], setup.num_classes) for i in range(len(maps_t) - 1))
        widths = [(maps_s[-1][0], maps_t[-1][0])] * len(self.heads_s)
        widths.append((setup.student.embedding, setup.teacher.embedding))
        self.links = nn.ModuleList(nn.Linear(s, t, bias=False) for s, t in widths)

    def stages(self) -> Sequence[Stage]:
        epochs = max(1, round(self.params.heads_share * self.epochs))
        return [Stage("heads", epochs, self.teacher_heads, requires=frozenset({"teacher.features"}))]

    def teacher_heads(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        heads = zip(self.heads_t, teacher.features[:-1], strict=True)
        return {"ce": torch.stack([F.cross_entropy(head(f)[0], batch.labels) for head, f in heads]).sum()}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        temperature = 1 + p.temperature_growth * (batch.epoch + 1) / self.epochs
        own = at_all_depths(self.heads_s, student)
        with torch.no_grad():
            theirs = at_all_depths(self.heads_t, teacher)
        ce, kd, feature = [], [], []
        for (z_s, e_s), (z_t, e_t), link in zip(own, theirs, self.links, strict=True):
            ce.append(F.cross_entropy(z_s, batch.labels))
            kd.append(F.cross_entropy(z_s / temperature, (z_t / temperature).softmax(dim=1)))
            feature.append((link(e_s) - e_t).norm() / math.sqrt(len(e_s)))
        return {
            "ce": p.ce_weight * torch.stack(ce).sum(),
            "kd": p.kd_weight * torch.stack(kd).sum(),
            "feature": p.feature_weight * torch.stack(feature).sum(),
            "orthogonal": p.orthogonal_weight * torch.stack([lacks(w) for w in self.links.parameters()]).sum(),
        }


class Head(nn.Module):
    """From a map to logits, through separable convolutions to the shape of each later map.

    Args:
        maps: (C, H, W) of the map and of all later ones.
    """

    def __init__(self, maps: Sequence[tuple[int, int, int]], num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(separable(a[0], b[0], max(1, round(a[1] / b[1]))) for a, b in pairwise(maps)))
        self.classifier = nn.Linear(maps[-1][0], num_classes)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and embedding (B, D) of a map (B, C_l, H_l, W_l)."""
        embedding = self.layers(feature).mean(dim=(2, 3))
        return self.classifier(embedding), embedding


def separable(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """Twice a depthwise and a pointwise convolution, with batch norm and ReLU; the first takes the stride."""
    layers: list[nn.Module] = []
    for width, step in ((in_channels, stride), (channels, 1)):
        depthwise = nn.Conv2d(in_channels, in_channels, 3, step, padding=1, groups=in_channels, bias=False)
        layers += [depthwise, nn.Conv2d(in_channels, width, 1, bias=False), BatchNorm(width), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(*layers)


def at_all_depths(heads: nn.ModuleList, outputs: Outputs) -> list[tuple[Tensor, Tensor]]:
    """(B, C) logits and (B, D) embeddings of a network's heads, its own last."""
    found = [head(feature) for head, feature in zip(heads, outputs.features, strict=False)]
    return [*found, (outputs.logits, outputs.embedding)]


def lacks(weight: Tensor) -> Tensor:
    """|W W^T - I| + |W^T W - I|, 0-dim, of an (n, m) matrix."""
    return from_identity(weight @ weight.T) + from_identity(weight.T @ weight)


def from_identity(matrix: Tensor) -> Tensor:
    """|M - I|, 0-dim, of an (n, n) matrix."""
    return (matrix - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)).norm()
