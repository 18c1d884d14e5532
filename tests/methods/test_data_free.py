"""Data-free methods whose generator learns together with the student: dfad, dafl, zskt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.checks.bench import Bench, batches, evaluate
from kdbench.training.trainer import Trainer
from kdbench_methods.at import attention_loss
from kdbench_methods.dafl import DAFL, batch_entropy, one_hot_loss
from kdbench_methods.dfad import DFAD, discrepancy
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.data_free import DataFree
from kdbench_methods.parts.generator import ImageGenerator
from kdbench_methods.zskt import ZSKT

METHODS = [DFAD, DAFL, ZSKT]
SMALL = {"width": 4, "latent": 6}


def training(cls: type[DataFree], **params: Any) -> Trainer:
    return Bench(cls).trainer(params=SMALL | params)


def weights(trainer: Trainer) -> Tensor:
    """The generator's, as one vector."""
    return torch.cat([p.detach().flatten() for p in trainer.method.generator.parameters()])


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 48), (2, 6, 10)])
def test_a_generator_makes_normalised_images_of_any_size(shape: tuple[int, int, int]) -> None:
    generator = ImageGenerator(6, shape, width=4)
    images = generator(generator.draw(16, torch.Generator().manual_seed(0)))
    assert images.shape == (16, *shape)
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(shape[0]), atol=1e-4)
    assert torch.allclose(images.var(dim=(0, 2, 3)), torch.ones(shape[0]), atol=0.01)


def test_tanh_bounds_the_pixels_before_they_are_normalised() -> None:
    latents = torch.randn(64, 6)
    torch.manual_seed(0)
    free = ImageGenerator(6, (1, 8, 8), width=4)
    torch.manual_seed(0)
    bounded = ImageGenerator(6, (1, 8, 8), width=4, tanh=True)
    raw = free.layers[:-1](free.project(latents).unflatten(1, free.first_map))
    squashed = raw.tanh()
    expected = (squashed - squashed.mean()) / squashed.var(correction=0).add(1e-5).sqrt()
    assert torch.allclose(bounded(latents), expected, atol=1e-5)


@pytest.mark.parametrize(("cls", "eps", "last"), [(DFAD, 1e-5, 0), (DAFL, 0.8, 0), (ZSKT, 1e-5, 2)])
def test_batch_norms_are_those_of_the_authors_generators(cls: type[DataFree], eps: float, last: int) -> None:
    norms = [m for m in training(cls).method.generator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [norm.eps for norm in norms] == [1e-5, eps, eps, 1e-5]
    assert [len(list(norm.parameters())) for norm in norms] == [2, 2, 2, last]


def test_in_evaluation_an_image_does_not_depend_on_the_others() -> None:
    generator = ImageGenerator(6, (1, 8, 8), width=4)
    latents = torch.randn(8, 6)
    generator(latents)  # running statistics
    together = generator.evaluated(latents)
    assert torch.allclose(generator.evaluated(latents[:1]), together[:1], atol=1e-6)
    assert not torch.allclose(generator(latents)[:1], together[:1], atol=1e-3)
    assert generator.training


def test_dfads_discrepancy_is_the_mean_absolute_difference(random: Callable[..., Tensor]) -> None:
    s, t = random(5, 3), random(5, 3, seed=1)
    expected = sum(abs(s[i, c].item() - t[i, c].item()) for i in range(5) for c in range(3)) / 15
    assert discrepancy(s, t).item() == pytest.approx(expected, rel=1e-12)


def test_dafls_one_hot_loss_is_the_surprise_at_the_most_likely_class(random: Callable[..., Tensor]) -> None:
    logits = random(5, 3)
    expected = -sum(math.log(row.softmax(0).max().item()) for row in logits) / 5
    assert one_hot_loss(logits).item() == pytest.approx(expected, rel=1e-12)


def test_dafls_entropy_is_of_the_mean_prediction_in_decimal_digits(random: Callable[..., Tensor]) -> None:
    logits = random(5, 3)
    mean = [sum(row.softmax(0)[c].item() for row in logits) / 5 for c in range(3)]
    assert batch_entropy(logits).item() == pytest.approx(-sum(p * math.log10(p) for p in mean), rel=1e-12)
    each_its_own = 1e4 * torch.eye(10, requires_grad=True)
    assert batch_entropy(each_its_own).item() == pytest.approx(1, rel=1e-6)


def test_dafls_entropy_has_a_gradient_where_a_class_never_occurs() -> None:
    logits = torch.tensor([[1000.0, 0, -1000], [1000.0, 0, -1000]], requires_grad=True)
    entropy = batch_entropy(logits)
    assert entropy.item() == 0
    (gradient,) = torch.autograd.grad(entropy, logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("cls", METHODS)
def test_no_image_label_or_index_is_ever_cut_from_the_training_set(
    cls: type[DataFree], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = training(cls)
    asked: list[int] = []
    cut = trainer.images.cut
    monkeypatch.setattr(trainer.images, "cut", lambda index, view: asked.append(len(index)) or cut(index, view))
    for batch in batches(trainer):
        assert len(batch.images) == len(batch.labels) == len(batch.index) == 0
        trainer.step(batch)
    assert asked == [0, 0, 0]


@pytest.mark.parametrize("cls", METHODS)
def test_student_and_generator_learn_from_their_own_loss_alone(cls: type[DataFree]) -> None:
    trainer = training(cls)
    student = [p.detach().clone() for p in trainer.student.parameters()]
    batch = next(batches(trainer))
    seen = trainer.method.inputs(batch)
    assert all(torch.equal(p, before) for p, before in zip(trainer.student.parameters(), student, strict=True))
    assert all(p.grad is None for p in trainer.student.parameters())
    assert seen.images.shape == (trainer.method.batch_size, 1, 8, 8)
    assert not seen.images.requires_grad
    generator = weights(trainer)
    for term in trainer.method.loss(seen, *trainer.outputs(seen.images)).values():
        term.backward(retain_graph=True)
    trainer.optimizer.step()
    assert torch.equal(weights(trainer), generator)
    assert not all(torch.equal(p, before) for p, before in zip(trainer.student.parameters(), student, strict=True))


@pytest.mark.parametrize(
    ("cls", "params", "moves"),
    [
        (DFAD, {"student_steps": 2}, [True, False, True]),
        (ZSKT, {"student_steps": 2}, [True, False, True]),
        (DAFL, {}, [True, True, True]),
    ],
)
def test_the_generator_moves_in_every_step_or_in_every_so_many(
    cls: type[DataFree], params: dict[str, Any], moves: list[bool]
) -> None:
    trainer = training(cls, **params)
    moved = []
    for batch in batches(trainer):
        before = weights(trainer)
        trainer.step(batch)
        moved.append(not torch.equal(weights(trainer), before))
    assert moved == moves


def test_dfads_student_sees_fresh_images_in_every_step_and_zskts_the_same_until_they_move() -> None:
    def seen(cls: type[DataFree]) -> list[Tensor]:
        trainer = training(cls, student_steps=2)
        return [trainer.method.inputs(batch).images.clone() for batch in batches(trainer)]

    first, second, third = seen(DFAD)
    assert not torch.equal(first, second)
    first, second, third = seen(ZSKT)
    assert torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize(
    ("cls", "distance"),
    [
        (DFAD, lambda s, t: discrepancy(s.logits, t.logits)),
        (ZSKT, lambda s, t: kd_loss(s.logits, t.logits, 1.0)),
    ],
)
def test_the_generator_moves_away_from_where_student_and_teacher_agree(
    cls: type[DataFree], distance: Callable[..., Tensor]
) -> None:
    trainer = training(cls, generator_learning_rate=1e-4)
    method, batch = trainer.method, next(batches(trainer))
    state = method.random.get_state()
    latents = method.latents(method.batch_size)
    method.random.set_state(state)
    start = distance(*trainer.outputs(method.generator(latents)))
    method.inputs(batch)
    assert distance(*trainer.outputs(method.generator(latents))) > start


def test_zskts_student_takes_its_steps_on_the_images_that_were_just_moved() -> None:
    trainer = training(ZSKT)
    method, batch = trainer.method, next(batches(trainer))
    state = method.random.get_state()
    latents = method.latents(method.batch_size)
    method.random.set_state(state)
    images = method.inputs(batch).images
    assert torch.equal(images, method.generator(latents))


def test_dafls_generator_goes_down_its_three_terms() -> None:
    trainer = training(DAFL, generator_learning_rate=1e-4, activation_weight=0.3, entropy_weight=2.0)
    method, batch = trainer.method, next(batches(trainer))

    def total(latents: Tensor) -> Tensor:
        teacher = trainer.outputs(method.generator(latents))[1]
        entropy, size = batch_entropy(teacher.logits), teacher.embedding.abs().mean()
        return one_hot_loss(teacher.logits) - 2.0 * entropy - 0.3 * size

    minimised: list[Tensor] = []
    minimise = method.generator_adam.minimise
    method.generator_adam.minimise = lambda loss: (minimised.append(loss.detach()), minimise(loss))
    state = method.random.get_state()
    latents = method.latents(method.batch_size)
    method.random.set_state(state)
    start = total(latents)
    method.inputs(batch)
    assert minimised[0].item() == pytest.approx(start.item(), rel=1e-5)
    assert total(latents) < start


def test_zskts_student_follows_the_teachers_logits_and_attention() -> None:
    trainer = training(ZSKT, kd_weight=0.5, attention_weight=3.0)
    terms, _, [student, teacher] = evaluate(trainer, next(batches(trainer)))
    assert terms["kd"].item() == pytest.approx(0.5 * kd_loss(student.logits, teacher.logits, 1.0).item())
    assert terms["attention"].item() == pytest.approx(3 * attention_loss(student.features, teacher.features).item())


def test_the_adversaries_rate_falls_along_half_a_cosine() -> None:
    trainer = training(DFAD, generator_learning_rate=0.2)
    batch = next(batches(trainer))
    rates = [trainer.method.falling_rate(replace(batch, progress=torch.tensor(p))) for p in (0.0, 0.25, 0.5, 1.0)]
    assert [rate.item() for rate in rates] == pytest.approx([0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0], abs=1e-7)


@pytest.mark.parametrize("cls", METHODS)
def test_the_training_is_so_many_times_as_long_and_its_images_are_kept(cls: type[DataFree]) -> None:
    method = training(cls, epoch_factor=7).method
    assert method.main(30).epochs == 210
    kept = method.synthetic()
    assert kept.shape == (256, 1, 8, 8)
    assert torch.equal(kept, method.synthetic())
