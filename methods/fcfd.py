"""Function-consistent feature distillation (Liu et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD

Shape = tuple[int, int, int]  # (C, H, W)


class FCFD(WithKD):
    """The student's maps look like the teacher's, and the rest of either network makes of them what it would have made.

    L = CE(z_s, y) + KD + m * map_weight * [sum_l d_l(b_l(f_l^s)) + sum_p sum_(l > p) d_l(f_l^(p))]
        + mixed_weight * [sum_p T^2 * KL(softmax(z_t / T) || softmax(z^(p) / T)) + sum_q the same of z^(q)]
    d_l(f) = mean (f - f_l^t)^2, of the last map and of its mean over positions;  m = min((epoch + 1) / E, 1)

    p: positions, all but the last, from which the teacher goes on with the student's map b_p(f_p^s), to maps f^(p) and
    logits z^(p). q: those from which the student goes on with the teacher's, c_q(f_q^t). Of all p and q, `paths` count
    in a step, drawn anew. E: `warm_up_share` of the epochs. b, c: a 3 x 3 convolution, transposed to a larger map, with
    batch norm, and a leaky ReLU to maps that have one.

    As the authors' code (LiuDongyang6/FCFD, classification/cifar/main.py, classification/models/meta.py and
    classification/experiments/cifar, commit 2aefb7b): all terms, positions, two paths a step, bridges b and c and their
    initial weights, weights and T of resnet8x4 and resnet32x4, warm-up of 20 of 240 epochs, statistics that the mixed
    paths do not move. There the teacher is in training mode, here in evaluation mode; there paths that do not count are
    not computed; maps are those of the suite's networks, some of which there end before a ReLU.
    """

    name, version = "fcfd", 1
    paper = Paper(
        "Function-Consistent Feature Distillation",
        "Dongyang Liu, Meina Kan, Shiguang Shan, Xilin Chen",
        2023,
        "2304.11832",
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset(f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "features"))
    checked_with = {"paths": 4}  # of the small networks all

    class Params(WithKD.Params):
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
        map_weight: float = Field(5.0, ge=0, description="weight of the maps' distances from the teacher's")
        mixed_weight: float = Field(1.0, ge=0, description="weight of KD of the logits of mixed paths")
        paths: int = Field(2, ge=1, description="mixed paths that count in a step, at most all")
        warm_up_share: float = Field(1 / 12, gt=0, description="part of the training in which map_weight grows")

    def build(self, setup: Setup) -> None:
        maps_s, maps_t = setup.student.features, setup.teacher.features
        if len(maps_s) < 2:
            raise NotApplicable("there is no feature map before the last, from which to go on")
        self.student_from, self.teacher_from = setup.student_from, setup.teacher_from
        self.generator, self.epochs = setup.generator, setup.epochs
        images = torch.rand(2, *setup.image_shape)
        with torch.no_grad():
            for position in range(len(maps_s) - 1):
                self.student_from(position, torch.zeros(2, *maps_s[position]))
                self.teacher_from(position, torch.zeros(2, *maps_t[position]))
            examples = setup.network("student").frozen(images).features, setup.read_teacher(images).features
        relu_s, relu_t = ([bool((feature >= 0).all()) for feature in found] for found in examples)
        self.to_teacher = nn.ModuleList(map(bridge, maps_s, maps_t, relu_t))
        self.to_student = nn.ModuleList(map(bridge, maps_t[:-1], maps_s[:-1], relu_s))

    def draw(self, device: torch.device) -> Tensor:
        """(2P,) of 0 and 1: which mixed paths count, those through the teacher's later stages first."""
        order = torch.rand(2 * len(self.to_student), generator=self.generator, device=device).argsort().argsort()
        return (order < self.params.paths).float()

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        warm_up = ((batch.epoch + 1) / (p.warm_up_share * self.epochs)).clamp(max=1)
        bridged = [link(f) for link, f in zip(self.to_teacher, student.features, strict=True)]
        counts = self.draw(batch.labels.device)
        through_teacher = [self.teacher_from(i, f) for i, f in enumerate(bridged[:-1])]
        through_student = [self.student_from(i, link(teacher.features[i])) for i, link in enumerate(self.to_student)]
        maps = [distances(end.features, teacher.features[i + 1 :]) for i, end in enumerate(through_teacher)]
        mixed = [kd_loss(end.logits, teacher.logits, p.temperature) for end in (*through_teacher, *through_student)]
        total = distances(bridged, teacher.features) + (counts[: len(maps)] * torch.stack(maps)).sum()
        return {
            **self.ce_and_kd(batch, student, teacher),
            "map": p.map_weight * warm_up * total,
            "mixed": p.mixed_weight * (counts * torch.stack(mixed)).sum(),
        }


def distances(maps: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Sum of mean squared distances of (B, C, H, W) maps, the last ones also of their means over positions."""
    found = [F.mse_loss(f, target) for f, target in zip(maps, targets, strict=True)]
    mean, target = (f.relu().mean(dim=(2, 3)) for f in (maps[-1], targets[-1]))
    return torch.stack([*found, F.mse_loss(mean, target)]).sum()


def bridge(source: Shape, target: Shape, relu: bool) -> nn.Sequential:
    """From a map to the shape of another network's, behind a leaky ReLU if that one is behind a ReLU.

    Raises:
        NotApplicable: neither size is a multiple of the other.
    """
    (in_channels, *size), (channels, *wanted) = source, target
    layer: nn.Module
    if size == wanted:
        layer = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    elif [side % other for side, other in zip(size, wanted, strict=True)] == [0, 0]:
        layer = nn.Conv2d(in_channels, channels, 3, size[0] // wanted[0], padding=1)
    elif [side % other for side, other in zip(wanted, size, strict=True)] == [0, 0]:
        factor = wanted[0] // size[0]
        layer = nn.ConvTranspose2d(in_channels, channels, 2 * factor, factor, padding=factor // 2)
    else:
        raise NotApplicable(f"maps of {size[0]}x{size[1]} and {wanted[0]}x{wanted[1]} positions cannot be bridged")
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, BatchNorm(channels), *([nn.LeakyReLU(0.1)] if relu else []))
