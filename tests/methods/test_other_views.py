"""CS-KD, DLB and DDGSD: methods that look at further images of the training set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Setup, Shapes
from kdbench_methods.cskd import CSKD
from kdbench_methods.ddgsd import DDGSD
from kdbench_methods.dlb import DLB
from kdbench_methods.kd import kd_loss

LABELS = torch.tensor([0, 1, 2, 0, 0, 2, 2, 1, 0, 0, 2, 0])  # classes of 6, 2 and 4
VIEWS = 5
NONE = Outputs("teacher")


class Student(nn.Module):
    """Notes which images it is shown: an image is its index and its view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(2, 3)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Outputs:
        self.seen.append(images[:, 0, 0].long())
        logits = self.linear((images[:, 0, 0] / 5).to(self.linear.weight.dtype))
        return Outputs("student", logits=logits, embedding=logits**2)


def image(index: Tensor, view: Tensor) -> Tensor:
    return torch.stack([index, view], dim=1)[:, None, None].float()


def made(cls: type[Method], **params: Any) -> tuple[Any, Student]:
    student, method = Student(), cls(cls.Params.model_validate(params))
    method.build(
        Setup(
            student=Shapes("student", embedding=3),
            teacher=Shapes("teacher"),
            train_labels=LABELS,
            num_classes=3,
            mean=(0.0,),
            std=(1.0,),
            num_steps=10,
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(1),
            batch_size=4,
            read_student=student,
            images=image,
            num_views=VIEWS,
        )
    )
    return method, student


def batch_of(*index: int) -> Batch:
    i = torch.tensor(index)
    view = (i * 3) % VIEWS
    return Batch(image(i, view), LABELS[i], i, view, torch.tensor(0), torch.tensor(0), torch.tensor(0.0))


def step(method: Method, student: Student, batch: Batch) -> tuple[dict[str, Tensor], Outputs]:
    batch = method.inputs(batch)
    outputs = student(batch.images)
    return method.loss(batch, outputs, NONE), outputs


def test_cskd_compares_an_image_with_one_of_its_class() -> None:
    method, student = made(CSKD, class_weight=2.0)
    terms, outputs = step(method, student, batch_of(1, 2, 3, 4))
    _, partners = student.seen
    assert LABELS[partners[:, 0]].tolist() == LABELS[[1, 2, 3, 4]].tolist()
    theirs = student(image(*partners.T)).logits
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(outputs.logits, LABELS[[1, 2, 3, 4]]).item())
    assert terms["class"].item() == pytest.approx(2 * kd_loss(outputs.logits, theirs, 4.0).item(), rel=1e-6)


def test_cskds_partners_are_all_images_of_the_class_alike_in_every_view() -> None:
    method, _ = made(CSKD)
    for label in range(3):
        index, view = method.partners(torch.full((6000,), label))
        members = (label == LABELS).nonzero().flatten()
        counts = torch.bincount(index, minlength=12)
        assert counts[members].sum() == 6000
        assert (counts[members] * len(members) / 6000 - 1).abs().max() < 0.15
        assert set(view.tolist()) == set(range(VIEWS))


def test_no_gradient_goes_through_cskds_partner() -> None:
    method, student = made(CSKD)
    batch = batch_of(1, 2, 3, 4)
    outputs = student(batch.images)
    [found] = torch.autograd.grad(method.loss(batch, outputs, NONE)["class"], outputs.logits, retain_graph=True)
    theirs = student(image(*student.seen[1].T)).logits.detach()
    (through_the_image,) = torch.autograd.grad(kd_loss(outputs.logits, theirs, 4.0), outputs.logits)
    assert torch.allclose(found, through_the_image)
    terms = method.loss(batch, Outputs("student", logits=outputs.logits.detach()), NONE)
    assert not terms["class"].requires_grad


def test_dlb_repeats_what_it_said_of_the_last_images() -> None:
    method, student = made(DLB, last_weight=0.7)
    first, second = batch_of(0, 1, 2, 3), batch_of(4, 5, 6, 7)
    terms, said = step(method, student, first)
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(said.logits, first.labels).item())
    assert terms["last"].item() == 0
    with torch.no_grad():
        student.linear.weight[0] += 0.5
    terms, new = step(method, student, second)
    again = student.seen[-1]
    assert again[:, 0].tolist() == [0, 1, 2, 3]
    logits = student(image(*again.T)).logits
    both = torch.cat([new.logits, logits])
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(both, LABELS[[4, 5, 6, 7, 0, 1, 2, 3]]).item())
    assert terms["last"].item() == pytest.approx(0.7 * kd_loss(logits, said.logits, 3.0).item(), rel=1e-6)


def test_dlb_has_nothing_to_learn_from_the_same_view_until_it_changes() -> None:
    method, student = made(DLB)
    method.num_views = 1
    index = torch.tensor([0, 1, 2, 3])
    batch = replace(batch_of(0, 1, 2, 3), images=image(index, torch.zeros_like(index)))
    step(method, student, batch)
    assert step(method, student, batch)[0]["last"].item() == pytest.approx(0, abs=1e-7)
    with torch.no_grad():
        student.linear.weight[0] += 0.5
    assert step(method, student, batch)[0]["last"].item() > 1e-3


def test_dlb_sees_the_latest_images_again_after_a_short_batch() -> None:
    method, student = made(DLB)
    said = {}
    for index in ((0, 1, 2, 3), (4, 5), (6, 7, 8, 9)):
        _, outputs = step(method, student, batch_of(*index))
        said |= dict(zip(index, outputs.logits.tolist(), strict=True))
        if index == (4, 5):
            assert method.logits.tolist() == [said[i] for i in (4, 5, 0, 1)]
    assert student.seen[-1][:, 0].tolist() == [4, 5, 0, 1]
    step(method, student, batch_of(10))
    assert student.seen[-1][:, 0].tolist() == [6, 7, 8, 9]


def test_dlbs_gradients_go_through_both_batches_and_not_into_what_was_said() -> None:
    method, student = made(DLB)
    _, said = step(method, student, batch_of(0, 1, 2, 3))
    terms, _ = step(method, student, batch_of(4, 5, 6, 7))
    assert torch.autograd.grad(terms["last"], said.logits, retain_graph=True, allow_unused=True) == (None,)
    assert torch.autograd.grad(terms["last"], student.linear.weight)[0].any()


def test_ddgsd_sees_every_image_in_two_views() -> None:
    method, student = made(DDGSD)
    step(method, student, batch_of(0, 4, 8))
    assert student.seen[0][:, 0].tolist() == [0, 4, 8] * 2
    assert student.seen[0][:3, 1].tolist() == batch_of(0, 4, 8).view.tolist()  # type: ignore[union-attr]
    views = torch.cat([method.inputs(batch_of(*range(12))).images[12:, 0, 0, 1] for _ in range(20)])
    assert set(views.tolist()) == set(range(VIEWS))


def test_ddgsd_pulls_both_views_together(random: Callable[..., Tensor]) -> None:
    method, _ = made(DDGSD)
    labels = LABELS[:4]
    a, b = random(4, 3, seed=1), random(4, 3, seed=2)
    e_a, e_b = random(4, 6, seed=3), random(4, 6, seed=4)
    both = Outputs("student", logits=torch.cat([a, b]), embedding=torch.cat([e_a, e_b]))
    terms = method.loss(batch_of(0, 1, 2, 3), both, NONE)
    ce = (F.cross_entropy(a, labels) + F.cross_entropy(b, labels)) / 4  # as in its source, which halves the mean
    gap = sum((sum(e_a[i, d] - e_b[i, d] for i in range(4)) / 4) ** 2 for d in range(6))
    assert terms["ce"].item() == pytest.approx(ce.item())
    assert terms["view"].item() == pytest.approx((kd_loss(a, b, 4.0) + kd_loss(b, a, 4.0)).item())
    assert terms["mean"].item() == pytest.approx(5e-4 * float(gap))


def test_ddgsd_leaves_equal_views_alone_and_lets_each_learn_from_the_other(random: Callable[..., Tensor]) -> None:
    method, _ = made(DDGSD)
    z, e = random(4, 3), random(4, 6)
    same = Outputs("student", logits=z.repeat(2, 1), embedding=e.repeat(2, 1))
    terms = method.loss(batch_of(0, 1, 2, 3), same, NONE)
    assert terms["view"].item() == pytest.approx(0, abs=1e-12)
    assert terms["mean"].item() == 0
    logits = random(8, 3, seed=5).requires_grad_()
    method.loss(batch_of(0, 1, 2, 3), Outputs("student", logits=logits, embedding=e.repeat(2, 1)), NONE)[
        "view"
    ].backward()
    softened = (logits.detach() / 4).softmax(dim=1)
    other = softened.roll(4, dims=0)  # the derivative of T^2 KL / B with a fixed teacher is T (p_s - p_t) / B
    assert torch.allclose(logits.grad, 4 * (softened - other) / 4)
