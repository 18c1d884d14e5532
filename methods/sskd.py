"""Knowledge distillation meets self-supervision (Xu et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup, Stage
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.with_kd import WithKD


class SSKD(WithKD):
    """The student answers as the teacher does which upright image a rotated one comes from (eq. 3 to 7).

    Stage "pretext":  L = CE(c_t, which image)         (the teacher's head alone learns)
    Then:             L = ce_weight * CE(z_s, y) + kd_weight * KD(upright) + rotated_weight * KD(rotated)
                          + pretext_weight * T^2 * KL(softmax(c_t / T) || softmax(c_s / T))

    c: cosines of a rotated image's embedding with every upright image's, under a learned head of two layers. Every
    image comes upright and turned by 90, 180 and 270 degrees. Of the rotated images that the teacher assigns wrongly,
    those are left out where the right answer ranks lowest.

    As the authors' code (xuguodong03/SSKD, student.py, wrapper.py and cifar.py, commit 661b972): all terms, their
    weights and temperatures, the heads, which answers are left out; each rotation is a crop of its own; the first stage
    runs the frozen teacher alone and moves its head alone. Different on purpose: the suite's teachers (theirs are
    trained for it), views and recipe, so that a rotation is also mirrored or not on its own (theirs all alike), and the
    first stage has the student's learning rate and its schedule (theirs: 0.05, which falls at 30 and 45 of 60 epochs).
    """

    name, version = "sskd", 2
    paper = Paper(
        "Knowledge Distillation Meets Self-Supervision",
        "Guodong Xu, Ziwei Liu, Xiaoxiao Li, Chen Change Loy",
        2020,
        "2006.07114",
    )
    scheme = "offline"
    knowledge = ("response", "relation")
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding", "images"})
    deviations = ("every image is seen in four rotations, each a crop of its own",)

    class Params(WithKD.Params):
        ce_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.9, ge=0, description="weight of the softened teacher's logits, upright images")
        rotated_weight: float = Field(2.7, ge=0, description="weight of the softened teacher's logits, rotated images")
        pretext_weight: float = Field(10.0, ge=0, description="weight of the answers to the pretext task")
        pretext_temperature: float = Field(0.5, gt=0, description="T, softens the answers to the pretext task")
        kept_wrong: float = Field(0.75, ge=0, le=1, description="share of the teacher's wrong answers that are kept")
        pretext_epochs: int = Field(60, ge=1, description="epochs of the teacher's head")

    def build(self, setup: Setup) -> None:
        self.generator, self.images, self.num_views = setup.generator, setup.images, setup.num_views
        self.head_s, self.head_t = head(setup.student.embedding), head(setup.teacher.embedding)

    def stages(self) -> Sequence[Stage]:
        requires = frozenset({"teacher.embedding"})
        return [Stage("pretext", self.params.pretext_epochs, self.pretext, requires=requires, rescaled=True)]

    def inputs(self, batch: Batch) -> Batch:
        size, device = (3, len(batch.labels)), batch.labels.device
        views = torch.randint(self.num_views, size, generator=self.generator, device=device)
        turned = [self.images(batch.index, view).rot90(k, dims=(2, 3)) for k, view in enumerate(views, 1)]
        return replace(batch, images=torch.cat([batch.images, *turned]), view=None)

    def pretext(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        answers = cosines(self.head_t(teacher.embedding))
        return {"pretext": F.cross_entropy(answers, right_answers(batch.labels))}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, n = self.params, len(batch.labels)
        z_s, z_t = student.logits, teacher.logits
        c_s = cosines(self.head_s(student.embedding))
        with torch.no_grad():
            c_t = cosines(self.head_t(teacher.embedding))
        kept = kept_answers(c_t, right_answers(batch.labels), p.kept_wrong)
        return {
            "ce": p.ce_weight * F.cross_entropy(z_s[:n], batch.labels),
            "kd": p.kd_weight * kd_loss(z_s[:n], z_t[:n], p.temperature),
            "rotated": p.rotated_weight * kd_loss(z_s[n:], z_t[n:], p.temperature),
            "pretext": p.pretext_weight * masked_kd_loss(c_s, c_t, kept, p.pretext_temperature),
        }


def cosines(embedding: Tensor) -> Tensor:
    """(4 B, D) embeddings, the upright ones first, to (3 B, B) cosines of rotated and upright images."""
    unit = F.normalize(embedding, dim=1)
    upright, *_ = unit.chunk(4)
    return unit[len(upright) :] @ upright.T


def right_answers(labels: Tensor) -> Tensor:
    """(B,) labels to (3 B,): which upright image each rotated one comes from."""
    return torch.arange(len(labels), device=labels.device).repeat(3)


def kept_answers(answers: Tensor, right: Tensor, share: float) -> Tensor:
    """(N, B) answers to (N,) bool: the right ones, and that share of the wrong ones where the right ranks highest."""
    score = answers.gather(1, right[:, None])
    rank = (answers > score).sum(dim=1)
    wrong = (rank > 0).sum()
    place = rank.argsort(stable=True).argsort()
    return place < len(rank) - wrong + (share * wrong).floor()


def masked_kd_loss(student: Tensor, teacher: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """T^2 * KL of (N, B) answers, averaged over those that are kept."""
    log_s, log_t = ((z / temperature).log_softmax(dim=1) for z in (student, teacher))
    each = F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * (each * kept).sum() / kept.sum().clamp(min=1)


def head(width: int) -> nn.Sequential:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
