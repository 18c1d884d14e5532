"""Matching guided distillation (Yue et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm, same_size
from kdbench_methods.parts.margins import WithMargins, partial_distance


class MGD(WithMargins):
    """Each channel of the student follows the strongest of the teacher's that are matched with it.

    L = CE(z_s, y) + map_weight * sum_l 2^(l - n + 1) * sum of d(bn_l(f_l^s), max(t_l, m_l)) / B
    t_l: at each position of a channel, of its matched channels of f_l^t the value of largest magnitude
    d(s, t) = 0 where s <= t <= 0, (s - t)^2 elsewhere

    f: maps before their last ReLU. A teacher's channel is matched with one of the student's, each of which gets equally
    many, so that the sum of 2 - 2 cos of matched channels, over the positions of an image and averaged over images, is
    least. The matching is made anew before every `update_epochs`-th epoch, from images that are not augmented (of large
    ones: from one crop of each, always the same).

    As the authors' code (KaiyuYue/mgd, mgd/builder.py and cls/main_mgd.py, commit 910a636): cost and its 20,000 images,
    matching, which channels of the teacher are left over where the numbers do not divide, absolute maximum, margins
    averaged over matched channels, distance, weights of the maps. There margins are computed from the weights of the
    batch norm before each ReLU, here they are measured as in `ofd`; the weight is of images of 224 x 224 (1e-4), here
    that of the same distance on CIFAR (clovaai/overhaul-distillation); and a teacher's map of another size, refused
    there, is averaged to the student's.
    """

    name, version = "mgd", 1
    paper = Paper("Matching Guided Distillation", "Kaiyu Yue, Jiangfan Deng, Feng Zhou", 2020, "2008.09958")
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(
        {"student.logits", "student.pre_activations", "teacher.logits", "teacher.pre_activations", "images"}
    )

    class Params(WithMargins.Params):
        map_weight: float = Field(0.001, ge=0, description="weight of the maps' partial distance")
        update_epochs: int = Field(2, ge=1, description="epochs between two matchings")
        matching_images: int = Field(20000, ge=1, description="images that a matching is made from, at most")

    def build(self, setup: Setup) -> None:
        shapes = zip(setup.student.pre_activations, setup.teacher.pre_activations, strict=True)
        self.channels = [(s[0], t[0]) for s, t in shapes]
        if any(s > t for s, t in self.channels):
            raise NotApplicable("a map of the student has more channels than the teacher's that it is matched with")
        self.norms = nn.ModuleList(BatchNorm(s) for s, _ in self.channels)
        self.make_margins(t for _, t in self.channels)
        for i, (s, t) in enumerate(self.channels):
            self.register_buffer(f"matched_{i}", torch.arange(t // s * s))
        self.read_student, self.read_teacher = setup.read_student, setup.read_teacher
        self.images, self.random, self.batch_size = setup.images, setup.generator, setup.batch_size
        self.plain_view, self.size = setup.plain_view, len(setup.train_labels)

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        if epoch % self.params.update_epochs:
            return
        training = student.training
        student.eval()
        for i, cost in enumerate(self.costs()):
            self.get_buffer(f"matched_{i}").copy_(matching(cost))
        student.train(training)

    @torch.no_grad()
    def costs(self) -> list[Tensor]:
        """Of each map, (C_s, C_t): how unlike each two channels are, over training images."""
        chosen = torch.randperm(self.size, generator=self.random, device=self.random.device)
        chosen = chosen[: self.params.matching_images]
        totals = [torch.zeros(shape, device=chosen.device) for shape in self.channels]
        for index in chosen.split(self.batch_size):
            images = self.images(index, torch.full_like(index, self.plain_view))
            maps_s, maps_t = (read(images).pre_activations for read in (self.read_student, self.read_teacher))
            for total, f_s, f_t in zip(totals, maps_s, maps_t, strict=True):
                total.add_(unlikeness(*same_size(f_s, f_t)) / len(chosen))
        return totals

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        total = []
        maps = zip(self.norms, student.pre_activations, teacher.pre_activations, strict=True)
        for i, (norm, f_s, f_t) in enumerate(maps):
            matched = self.get_buffer(f"matched_{i}").unflatten(0, (-1, f_s.shape[1]))  # (groups, C_s)
            margin = self.margin(i, f_t)[matched].mean(dim=0)
            target = strongest(F.adaptive_avg_pool2d(f_t, (f_s.shape[2], f_s.shape[3]))[:, matched]).maximum(margin)
            total.append(2.0 ** (i - len(self.norms) + 1) * partial_distance(norm(f_s), target))
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "map": self.params.map_weight * torch.stack(total).sum()}


def unlikeness(student: Tensor, teacher: Tensor) -> Tensor:
    """(B, C_s, H, W) and (B, C_t, H, W) to (C_s, C_t): 2 - 2 cos of two channels' positions, summed over the batch."""
    s, t = (F.normalize(feature.flatten(2), dim=2) for feature in (student, teacher))
    return (2 - 2 * s @ t.mT).sum(dim=0)


def matching(cost: Tensor) -> Tensor:
    """(C_s, C_t) to (groups * C_s,): the teacher's channels, group by group, that the student's are matched with."""
    groups = cost.shape[1] // cost.shape[0]
    square = cost.repeat(groups, 1)[:, : groups * len(cost)]
    return torch.as_tensor(linear_sum_assignment(square.cpu().numpy())[1], device=cost.device)


def strongest(grouped: Tensor) -> Tensor:
    """(B, groups, C, H, W) to (B, C, H, W): of each position the value of largest magnitude."""
    return grouped.gather(1, grouped.abs().argmax(dim=1, keepdim=True))[:, 0]
