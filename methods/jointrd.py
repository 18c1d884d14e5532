"""Residual distillation, JointRD (Li et al. 2020)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.parts.margins import WithMargins, connector, partial_distance


class JointRD(WithMargins):
    """A student without shortcuts gets the gradients of its teacher's later stages, through their shortcuts.

    L = ce_weight * CE(z_s, y) + map_weight * d(r(f_s), f_t)
          + m * sum_l [joint_weight * CE(z_l, y) + map_weight * d(r_l(f_l), f_t)]

    z_l, f_l: logits and last map of the teacher's stages after the l-th, frozen, on the student's map at the end of its
    own l-th stage, of all but the last. f: last maps before their ReLU; r: 1 x 1 convolutions with batch norm; d as in
    `ofd`, the squared distance that ignores what is low in both. m falls from 1 to `joint_end` along half a cosine,
    over `decay_share` of the training.

    As the authors' code (leoozy/JointRD_Neurips2020, process/multikd_train.py, stage JOINT, and model/distillerkd.py,
    commit 745b581): all terms, where the student's maps enter the teacher, connectors, weights, 60 of 200 epochs. There
    the teacher is trained along from scratch or, in the stage TA that the README names, trained before, of which the
    released code has lost all terms with m; here the suite's teacher, with the terms. Its scripts for CIFAR set the
    weight of d to 0, its comment says 1e-3. Margins, there from a batch norm's weights, are measured as in `ofd`.
    """

    name, version = "jointrd", 1
    paper = Paper(
        "Residual Distillation: Towards Portable Deep Neural Networks without Shortcuts",
        "Guilin Li, Junlei Zhang, Yunhe Wang, Chuanjian Liu, Matthias Tan, Yunfeng Lin, Wei Zhang, Jiashi Feng, "
        "Tong Zhang",
        2020,
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(
        f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "features", "pre_activations")
    )

    class Params(WithMargins.Params):
        ce_weight: float = Field(0.25, ge=0, description="weight of the cross-entropy with the labels")
        joint_weight: float = Field(0.25, ge=0, description="weight of each cross-entropy through the teacher's stages")
        map_weight: float = Field(0.25e-3, ge=0, description="weight of each distance between last maps")
        joint_end: float = Field(0.5, ge=0, le=1, description="what m falls to")
        decay_share: float = Field(0.3, gt=0, le=1, description="part of the training in which m falls")

    def build(self, setup: Setup) -> None:
        *low_s, last_s = setup.student.features
        *low_t, last_t = setup.teacher.features
        if low_s != low_t or not low_s:
            raise NotApplicable("the teacher cannot go on from the student's maps, whose shapes are not its own")
        self.teacher_from = setup.teacher_from
        for position, shape in enumerate(low_t):
            with torch.no_grad():
                self.teacher_from(position, torch.zeros(1, *shape))
        width = last_t[0]
        self.connectors = nn.ModuleList(connector(c, width) for c in [*[width] * len(low_s), last_s[0]])
        self.make_margins([width])

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, f_t = self.params, teacher.pre_activations[-1]
        fallen = (batch.progress / p.decay_share).clamp(max=1)
        m = p.joint_end + (1 - p.joint_end) * (1 + (math.pi * fallen).cos()) / 2
        ends = [self.teacher_from(stage, feature) for stage, feature in enumerate(student.features[:-1])]
        last = [*(end.pre_activations[-1] for end in ends), student.pre_activations[-1]]
        target = f_t.maximum(self.margin(0, f_t))
        maps = [partial_distance(r(f), target) for r, f in zip(self.connectors, last, strict=True)]
        joint = torch.stack([F.cross_entropy(end.logits, batch.labels) for end in ends]).sum()
        return {
            **self.ce_and_kd(batch, student, teacher),
            "joint": p.joint_weight * m * joint,
            "map": p.map_weight * (maps[-1] + m * torch.stack(maps[:-1]).sum()),
        }
