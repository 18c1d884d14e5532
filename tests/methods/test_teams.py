"""Methods with several teachers: avg_teachers, aekd, ca_mkd."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, NotApplicable, Outputs
from kdbench.checks.bench import Bench, batches, evaluate
from kdbench_methods.aekd import AEKD, agreed_weights, choices_of_bounds
from kdbench_methods.avg_teachers import AvgTeachers, averaged_kd_loss
from kdbench_methods.ca_mkd import CAMKD, confidences, kd_losses
from kdbench_methods.kd import kd_loss
from tests.methods.small import small_setup

Random = Callable[..., Tensor]
CLASSES = 3


def built(cls: type[Method], team: list[Tensor], **params: Any) -> Any:
    """A method whose further teachers say this of every batch."""
    method = cls(cls.Params.model_validate(params))
    team_readers = tuple(lambda images, logits=logits: Outputs("teacher", logits=logits) for logits in team)
    method.build(small_setup(team=team_readers))
    return method


def outputs(student: Tensor, teacher: Tensor) -> tuple[Outputs, Outputs]:
    return Outputs("student", logits=student), Outputs("teacher", logits=teacher)


@pytest.mark.parametrize("cls", [AvgTeachers, AEKD, CAMKD])
def test_a_single_teacher_is_no_team(cls: type[Method]) -> None:
    with pytest.raises(NotApplicable, match="no further teachers"):
        built(cls, [])


def test_averaged_loss_matches_loops(random: Random) -> None:
    student, team = random(4, CLASSES), random(3, 4, CLASSES, seed=1)
    total = 0.0
    for i in range(4):
        mean = sum((z[i] / 2).softmax(0) for z in team) / 3
        log_s = (student[i] / 2).log_softmax(0)
        total += sum((mean[c] * (mean[c].log() - log_s[c])).item() for c in range(CLASSES))  # type: ignore[index]
    assert averaged_kd_loss(student, team, 2.0).item() == pytest.approx(4 * total / 4)


def test_equal_teachers_are_one(random: Random) -> None:
    student, teacher = random(4, CLASSES), random(4, CLASSES, seed=1)
    together = averaged_kd_loss(student, teacher.expand(3, -1, -1), 4.0)
    assert together.item() == pytest.approx(kd_loss(student, teacher, 4.0).item())


def test_avg_teachers_hears_every_teacher(random: Random, batch_of: Callable[..., Batch]) -> None:
    student, teacher, *others = (random(6, CLASSES, seed=seed) for seed in range(4))
    batch = batch_of(6)
    terms = built(AvgTeachers, others, ce_weight=0.5, kd_weight=2.0).loss(batch, *outputs(student, teacher))
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(student, batch.labels).item())
    expected = 2 * averaged_kd_loss(student, torch.stack([teacher, *others]), 4.0)
    assert terms["kd"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("tolerance", [0.4, 0.6, 1.0])
def test_no_mixture_on_a_grid_is_shorter_than_the_agreed_one(random: Random, tolerance: float) -> None:
    steps = 50
    grid = [(a, b, steps - a - b) for a, b in itertools.product(range(steps + 1), repeat=2) if a + b <= steps]
    mixtures = torch.tensor(grid, dtype=torch.float64) / steps
    mixtures = mixtures[(mixtures <= tolerance).all(dim=1)]
    assert len(mixtures) > 50
    for seed in range(8):
        gradients = random(3, 5, seed=seed)
        weights = agreed_weights(gradients, tolerance, choices_of_bounds(3))
        assert weights.sum().item() == pytest.approx(1.0)
        assert weights.min() >= 0
        assert weights.max() <= tolerance + 1e-9
        assert (weights @ gradients).square().sum() <= (mixtures @ gradients).square().sum(dim=1).min() + 1e-9


def test_the_agreed_mixture_of_two_is_the_clipped_closed_form(random: Random) -> None:
    for seed in range(8):
        g, h = gradients = random(2, 5, seed=seed)
        first = (h @ (h - g) / (g - h).square().sum()).clamp(0.2, 0.8)
        weights = agreed_weights(gradients, 0.8, choices_of_bounds(2))
        assert torch.allclose(weights, torch.stack([first, 1 - first]), atol=1e-6)


def test_teachers_that_agree_weigh_the_same(random: Random) -> None:
    gradients = random(1, 5).expand(3, -1)
    assert torch.allclose(agreed_weights(gradients, 0.6, choices_of_bounds(3)), torch.full((3,), 1 / 3).double())
    assert torch.allclose(agreed_weights(0 * gradients, 0.6, choices_of_bounds(3)), torch.full((3,), 1 / 3).double())


def test_the_least_tolerance_is_the_mean_of_all_terms(random: Random) -> None:
    weights = agreed_weights(random(4, 5), 0.1, choices_of_bounds(4))
    assert torch.allclose(weights, torch.full((4,), 0.25).double())


def test_aekd_weighs_by_the_gradients_in_the_students_logits(random: Random, batch_of: Callable[..., Batch]) -> None:
    student, teacher, *others = (random(6, CLASSES, seed=seed) for seed in range(4))
    student.requires_grad_()
    batch = batch_of(6)
    method = built(AEKD, others, ce_weight=0.5, kd_weight=2.0, temperature=3.0)
    terms = method.loss(batch, *outputs(student, teacher))
    each = [kd_loss(student, z, 3.0) for z in (teacher, *others)]
    gradients = torch.stack([torch.autograd.grad(loss, student, retain_graph=True)[0].mean(0) for loss in each])
    weights = agreed_weights(gradients, 0.6, choices_of_bounds(3))
    assert weights.max() - weights.min() > 0.1
    assert terms["kd"].item() == pytest.approx(2 * (weights @ torch.stack(each)).item())
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(student, batch.labels).item())
    (gradient,) = torch.autograd.grad(terms["kd"], student)
    (expected,) = torch.autograd.grad(2 * (weights @ torch.stack(each)), student)
    assert torch.allclose(gradient, expected)


def test_confidences_favour_the_teacher_that_errs_least(random: Random) -> None:
    logits, labels = random(3, 6, CLASSES), torch.arange(6) % CLASSES
    weights = confidences(logits, labels)
    for i in range(6):
        losses = torch.stack([F.cross_entropy(z[i : i + 1], labels[i : i + 1]) for z in logits])
        assert torch.allclose(weights[:, i], (1 - losses.exp() / losses.exp().sum()) / 2)
        assert weights[:, i].argmax() == losses.argmin()
    assert torch.allclose(weights.sum(dim=0), torch.ones(6).double())


def test_equally_good_teachers_share_the_confidence(random: Random) -> None:
    weights = confidences(random(1, 6, CLASSES).expand(4, -1, -1), torch.arange(6) % CLASSES)
    assert torch.allclose(weights, torch.full((4, 6), 0.25).double())


def test_kd_losses_average_to_the_kd_loss(random: Random) -> None:
    student, teacher = random(6, CLASSES), random(6, CLASSES, seed=1)
    losses = kd_losses(student, teacher, 4.0)
    assert losses.mean().item() == pytest.approx(kd_loss(student, teacher, 4.0).item())
    assert losses[2].item() == pytest.approx(kd_loss(student[2:3], teacher[2:3], 4.0).item())


def test_ca_mkd_weighs_answers_and_embeddings_image_by_image() -> None:
    trainer = Bench(CAMKD).trainer(params={"ce_weight": 0.5, "kd_weight": 2.0, "embedding_weight": 3.0})
    given = next(batches(trainer))
    method = trainer.method.eval()
    terms, batch, [student, teacher] = evaluate(trainer, given)
    team = [teacher, *(read(batch.images) for read in method.others)]
    assert len(team) == 2
    kd, embedding = [], []
    for i in range(len(batch.labels)):
        label, e_s = batch.labels[i : i + 1], student.embedding[i, :, None, None]
        right, own = [], []
        for t, project, classifier in zip(team, method.project, method.classifiers, strict=True):
            projected = project(e_s[None])[:, :, 0, 0]
            right.append(F.cross_entropy(t.logits[i : i + 1], label).exp())
            own.append((F.cross_entropy(classifier(projected), label).exp(), F.mse_loss(projected[0], t.embedding[i])))
        divergences = [kd_loss(student.logits[i : i + 1], t.logits[i : i + 1], 4.0) for t in team]
        kd.append(sum((1 - e / sum(right)) * d for e, d in zip(right, divergences, strict=True)))
        embedding.append(sum((1 - e / sum(o for o, _ in own)) * d for e, d in own))
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(student.logits, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(2 * torch.stack(kd).mean().item() / 2, rel=1e-4)
    assert terms["embedding"].item() == pytest.approx(3 * torch.stack(embedding).mean().item() / 2, rel=1e-4)


def test_ca_mkd_leaves_the_embeddings_out_of_the_first_epoch() -> None:
    trainer = Bench(CAMKD).trainer(params={"plain_epochs": 1})
    _, batch, outputs = evaluate(trainer, next(batches(trainer)))
    weighed = [
        trainer.method.loss(replace(batch, epoch=torch.tensor(epoch)), *outputs)["embedding"].item()
        for epoch in range(3)
    ]
    assert weighed[0] == 0
    assert weighed[1] == pytest.approx(weighed[2]) != 0


def test_ca_mkd_asks_each_teachers_own_frozen_classifier() -> None:
    bench = Bench(CAMKD)
    method = bench.trainer().method
    assert not any(p.requires_grad for p in method.classifiers.parameters())
    assert bench.teacher is not None
    own = bench.teacher.get_classifier()  # type: ignore[operator]
    assert method.classifiers[0].weight.equal(own.weight)
    assert not any(p.requires_grad and p.data_ptr() == own.weight.data_ptr() for p in method.parameters())
    images = torch.rand(3, 1, 8, 8)
    for read, classifier in zip(method.others, list(method.classifiers)[1:], strict=True):
        outputs = read(images)
        assert torch.allclose(classifier(outputs.embedding), outputs.logits, atol=1e-5)
