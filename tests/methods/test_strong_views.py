"""MLLD and CRLD: what they make of an image and its strong view."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kdbench import Batch, Outputs
from kdbench.checks.bench import Bench, batches
from kdbench_methods.crld import CRLD
from kdbench_methods.mlld import MLLD, share_below_median


def batch_of(images: torch.Tensor, strong: torch.Tensor) -> Batch:
    index, zero = torch.arange(len(images)), torch.tensor(0)
    return Batch(images, index % 3, index, index, zero, zero, torch.tensor(0.0), strong_images=strong)


def made(cls: Any, **params: Any) -> Any:
    return cls(cls.Params.model_validate(params))


def of_both(method: Any, batch: Batch, student: torch.Tensor, teacher: torch.Tensor) -> Any:
    """The loss of (2B, C) logits, of the images and then of their strong views."""
    (s_a, s_b), (t_a, t_b) = student.chunk(2), teacher.chunk(2)
    asked: list[torch.Tensor] = []
    method.read_student = lambda images: asked.append(images) or Outputs("student", logits=s_b)
    method.read_teacher = lambda images: asked.append(images) or Outputs("teacher", logits=t_b)
    terms = method.loss(batch, Outputs("student", logits=s_a), Outputs("teacher", logits=t_a))
    assert [images is batch.strong_images for images in asked] == [True, True]
    return terms


@pytest.mark.parametrize("cls", [CRLD, MLLD])
def test_the_student_normalises_each_view_by_itself(cls: Any) -> None:
    bench = Bench(cls)
    trainer = bench.trainer()
    batch = next(batches(trainer))
    norm = next(m for m in trainer.student.modules() if isinstance(m, nn.BatchNorm2d))
    trainer.student.train()
    before = copy.deepcopy(trainer.student)
    trainer.step(batch)
    for images in (batch.images, batch.strong_images):
        before(images)
    expected = next(m for m in before.modules() if isinstance(m, nn.BatchNorm2d))
    assert torch.equal(norm.running_mean, expected.running_mean)
    assert norm.num_batches_tracked == expected.num_batches_tracked


@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_share_below_the_median_is_numpys(count: int, random: Any) -> None:
    values = random(count).abs()
    theirs = (values.numpy() <= np.percentile(values.numpy(), 50)).mean()
    assert share_below_median(values).item() == pytest.approx(theirs)
    assert share_below_median(torch.ones(count)).item() == 1


def test_a_student_that_says_what_the_teacher_says_has_only_mllds_cross_entropy_left(random: Any) -> None:
    batch, z = batch_of(random(4, 1), random(4, 1)), random(8, 3)
    terms = of_both(made(MLLD), batch, z, z)
    assert terms.pop("ce") > 0
    assert all(value.abs() < 1e-12 for value in terms.values())


def test_mllds_strong_view_teaches_single_images_alone(random: Any) -> None:
    batch = batch_of(random(4, 1), random(4, 1))
    student, teacher = random(8, 3).requires_grad_(), random(8, 3, seed=2)
    terms = of_both(made(MLLD), batch, student, teacher)
    for name, value in terms.items():
        (found,) = torch.autograd.grad(value, student, retain_graph=True)
        assert found[:4].any()
        assert bool(found[4:].any()) == (name in ("ce", "kd"))


def test_crld_follows_the_teacher_only_where_it_is_sure(random: Any) -> None:
    batch = batch_of(random(4, 1), random(4, 1))
    student, teacher = random(8, 3).requires_grad_(), random(8, 3, seed=2)
    teacher[[0, 6], 0] += 20  # sure of the first image, and of the third one's strong view
    terms = of_both(made(CRLD, weak_confidence=0.999, strong_confidence=0.999), batch, student, teacher)
    for name, image in (("within", 0), ("cross", 2)):
        (found,) = torch.autograd.grad(terms[name], student, retain_graph=True)
        assert found.any(dim=1).nonzero().flatten().tolist() == [image, image + 4]
