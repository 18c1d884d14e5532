"""Class attention transfer (Guo et al. 2023)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class CATKD(Method):
    """The student looks for each class where the teacher looks: its class activation maps follow the teacher's.

    L = ce_weight * CE(z_s, y) + map_weight * mean over classes and positions of (n(M_s) - n(M_t))^2

    M: class activation maps, averaged to `resolution` positions along a side. n: of each class's map, divided by its
    norm over the positions if `normalise`, else as it is.

    As the authors' code (GzyAftermath/CAT-KD, mdistiller/distillers/CAT_KD.py, commit 4467073): loss, and the weight,
    resolution and lack of n of configs/cifar100/CAT_KD/res32x4_res8x4.yaml. There networks are rebuilt to end in a
    convolution to the classes without a bias, behind which positions are averaged; here any network with a linear
    classifier of a map's mean has the same maps, and its bias in them. Left out: the code's variants with binary maps
    and with those of some classes alone.
    """

    name, version = "catkd", 1
    paper = Paper(
        "Class Attention Transfer Based Knowledge Distillation",
        "Ziyao Guo, Haonan Yan, Hui Li, Xiaodong Lin",
        2023,
        "2304.12777",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.class_maps", "teacher.class_maps"})

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        map_weight: float = Field(15.0, ge=0, description="weight of the class activation maps' distance")
        resolution: int = Field(2, ge=1, description="positions along a side to which the maps are averaged")
        normalise: bool = Field(False, description="compare each class's map over its norm")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        maps_s, maps_t = (F.adaptive_avg_pool2d(outputs.class_maps, p.resolution) for outputs in (student, teacher))
        if p.normalise:
            maps_s, maps_t = (F.normalize(maps, dim=(2, 3)) for maps in (maps_s, maps_t))  # type: ignore[arg-type]
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "map": p.map_weight * F.mse_loss(maps_s, maps_t),
        }
