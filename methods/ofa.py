"""One-for-all distillation across architectures (Hao et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench_methods.parts.transformer import Block
from kdbench_methods.tofd import separable

Shape = tuple[int, int, int]  # (C, H, W)


class OFA(Method):
    """Heads on all maps of the student, whatever its architecture, learn the teacher's classes, the label's raised.

    L = ce_weight * CE(z_s, y) + kd_weight * d(z_s) + head_weight * sum_l d(h_l(f_l))
    d(z) = mean over images of -sum_c [(p_c^t + [c = y])^exponent - [c = y]] * log softmax(z / T)_c

    p^t = softmax(z_t / T). h_l, of a map: separable convolutions that halve it, as many as stages follow, or a 1 x 1
    convolution where none does; their mean; and a linear classifier. Of an isotropic network, whose maps are those of
    its tokens: as many transformer blocks as maps follow, at least one, the mean of the tokens, and the classifier.

    As the authors' code (Hao840/OFAKD, distillers/ofa.py, distillers/utils.py and train.py, commit f7bb896): loss,
    heads and their initial weights, weights, T, and the exponent that the README has for CIFAR-100. There a head
    classifies the class token of a student that has one; here the mean of the image's tokens, as there of students
    without one. There a larger grid of tokens is first merged to 7 x 7, and maps of hierarchical transformers are
    tokens; here they are maps. There labels are smoothed and, for transformers, images mixed; here the suite's recipe.
    """

    name, version = "ofa", 1
    paper = Paper(
        "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation",
        "Zhiwei Hao, Jianyuan Guo, Kai Han, Yehui Tang, Han Hu, Yunhe Wang, Chang Xu",
        2023,
        "2310.19444",
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset(
        {"student.logits", "student.embedding", "student.features", "teacher.logits", "teacher.embedding"}
    )

    class Params(Method.Params):
        temperature: float = Field(1.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the student's own distance d")
        head_weight: float = Field(1.0, ge=0, description="weight of each head's distance d")
        exponent: float = Field(1.0, gt=0, description="power of the teacher's probabilities, the label's raised by 1")

    def build(self, setup: Setup) -> None:
        maps = setup.student.features
        width = max(setup.student.embedding, setup.teacher.embedding)
        if len(maps) > 1 and len(set(maps)) == 1:
            left = range(len(maps) - 1, -1, -1)
            heads: list[nn.Module] = [TokenHead(maps[0][0], max(n, 1), setup.num_classes) for n in left]
        else:
            heads = [map_head(maps[i:], width, setup.num_classes) for i in range(len(maps))]
        self.heads = nn.ModuleList(heads)
        self.heads.apply(init_weights)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        p_t = (teacher.logits / p.temperature).softmax(dim=1)
        is_label = F.one_hot(batch.labels, p_t.shape[1])
        target = (p_t + is_label) ** p.exponent - is_label
        logits = [head(feature) for head, feature in zip(self.heads, student.features, strict=True)]
        heads = torch.stack([cross_entropy(z / p.temperature, target) for z in logits])
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * cross_entropy(student.logits / p.temperature, target),
            "heads": p.head_weight * heads.sum(),
        }


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Of (B, C) logits with (B, C) weights of the classes, which need not sum to 1: averaged over the batch."""
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def map_head(maps: Sequence[Shape], width: int, num_classes: int) -> nn.Sequential:
    """From a map to logits.

    Args:
        maps: (C, H, W) of the map and of all later ones.
        width: at the end of the convolutions.
    """
    channels, left = maps[0][0], len(maps) - 1
    widths = [*(channels * 2**n for n in range(left)), width]
    layers: list[nn.Module] = [separable(a, b, 2) for a, b in pairwise(widths)]
    if not layers:
        layers = [nn.Conv2d(channels, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


class TokenHead(nn.Module):
    """From a map of tokens (B, D, H, W) to logits."""

    def __init__(self, width: int, blocks: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, math.gcd(width, 4)) for _ in range(blocks)))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, feature: Tensor) -> Tensor:
        return self.classifier(self.blocks(feature.flatten(2).mT).mean(dim=1))


def init_weights(module: nn.Module) -> None:
    """Convolutions by their fan out, linear layers narrow and without a bias at first."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
