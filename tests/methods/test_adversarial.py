"""Methods with a discriminator: what it learns, what the student is told, and who moves whom."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import Batch, Outputs
from kdbench.checks.bench import Bench, batches
from kdbench_methods import anc, meal
from kdbench_methods.anc import ANC
from kdbench_methods.meal import MEAL

Random = Callable[..., Tensor]


def entropy(logit: float, truth: float) -> float:
    """Binary cross-entropy of one logit, from its definition."""
    p = 1 / (1 + math.exp(-logit))
    return -truth * math.log(p) - (1 - truth) * math.log(1 - p)


def outputs(random: Random, width: int, seed: int, size: int = 6) -> dict[str, Tensor]:
    return {"logits": random(size, 3, seed=seed), "embedding": random(size, width, seed=seed + 1)}


def parameters(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def student_and_teacher(random: Random) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    student = {name: value.requires_grad_() for name, value in outputs(random, 4, seed=0).items()}
    return student, outputs(random, 5, seed=10)


def built(build: Callable[..., Any], cls: type[ANC | MEAL], **params: float) -> Any:
    return build(cls, {"embedding": 4}, {"embedding": 5}, **params)


def test_a_verdict_is_the_mean_binary_cross_entropy() -> None:
    logits = torch.tensor([[0.3], [-1.2], [2.0]], dtype=torch.float64)
    for truth in (0.0, 1.0):
        expected = sum(entropy(logit, truth) for logit in (0.3, -1.2, 2.0)) / 3
        assert anc.verdict(logits, truth).item() == pytest.approx(expected)


def test_the_error_of_meals_discriminator_tells_student_rows_from_teacher_rows(random: Random) -> None:
    z_s, z_t = random(4, 2, seed=1), random(4, 2, seed=2)
    found = meal.error(nn.Identity(), z_s, z_t).item()
    student = sum(entropy(a, 1.0) + entropy(b, 0.0) for a, b in z_s.tolist())
    teacher = sum(entropy(a, 0.0) + entropy(b, 1.0) for a, b in z_t.tolist())
    assert found == pytest.approx((student + teacher) / 16)


def test_anc_matches_logits_and_asks_the_discriminator_that_has_just_moved(
    build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, ANC, dropout=0.0, logits_weight=0.5, adversarial_weight=2.0, ce_weight=3.0)
    student, teacher = student_and_teacher(random)
    before = parameters(method.discriminator)
    terms = method.loss(batch_of(6), Outputs("student", **student), Outputs("teacher", **teacher))
    squares = [(s - t) ** 2 for s, t in zip(student["logits"].flatten(), teacher["logits"].flatten(), strict=True)]
    assert terms["logits"].item() == pytest.approx(0.5 * sum(squares).item() / len(squares))
    told = method.discriminator(method.embed(student["embedding"])).flatten().tolist()
    assert terms["adversarial"].item() == pytest.approx(2.0 * sum(entropy(logit, 1.0) for logit in told) / 6)
    log_p = student["logits"].log_softmax(dim=1)
    assert terms["ce"].item() == pytest.approx(-3.0 * sum(log_p[i, i % 3].item() for i in range(6)) / 6)
    assert not any(torch.equal(a, b) for a, b in zip(before, method.discriminator.parameters(), strict=True))


def test_anc_needs_no_labels_by_default(
    build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    student, teacher = student_and_teacher(random)
    terms = built(build, ANC).loss(batch_of(6), Outputs("student", **student), Outputs("teacher", **teacher))
    assert set(terms) == {"logits", "adversarial"}


def test_anc_drops_the_stated_share_of_the_embedding_and_keeps_its_mean(
    build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, ANC, dropout=0.75)
    method.embed = nn.Identity()
    seen: list[Tensor] = []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    embedding = torch.ones(4000, 5, dtype=torch.float64, requires_grad=True)
    student = Outputs("student", logits=random(4000, 3).requires_grad_(), embedding=embedding)
    teacher = Outputs("teacher", logits=random(4000, 3, seed=1), embedding=random(4000, 5, seed=2))
    method.loss(batch_of(4000), student, teacher)
    told_t, told_s, judged = seen
    assert torch.equal(told_t, teacher.embedding)
    assert told_s.unique().tolist() == [0.0, 4.0]
    assert (told_s == 0).double().mean().item() == pytest.approx(0.75, abs=0.01)
    assert torch.equal(told_s, judged)


def test_equal_widths_need_no_layer_between(build: Callable[..., Any]) -> None:
    assert not list(build(ANC, {"embedding": 5}, {"embedding": 5}).embed.parameters())
    assert built(build, ANC).embed.weight.shape == (5, 4)


@pytest.mark.parametrize(("weight", "low", "high"), [(0.0, 0.0, 0.05), (1.0, 0.4, 0.6)])
def test_the_regulariser_keeps_the_discriminator_undecided_on_the_student(
    weight: float, low: float, high: float, build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, ANC, regulariser_weight=weight, discriminator_rate=0.01, dropout=0.0)
    student, teacher = student_and_teacher(random)
    for _ in range(100):
        method.loss(batch_of(6), Outputs("student", **student), Outputs("teacher", **teacher))
    assert low <= method.discriminator(method.embed(student["embedding"])).sigmoid().mean().item() <= high
    assert method.discriminator(teacher["embedding"]).sigmoid().mean().item() > 0.95


def test_meal_learns_from_soft_labels_and_subtracts_the_discriminators_error(
    build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, MEAL, similarity_weight=0.5, adversarial_weight=2.0)
    student, teacher = student_and_teacher(random)
    z_s, z_t = student["logits"], teacher["logits"]
    terms = method.loss(batch_of(6), Outputs("student", **student), Outputs("teacher", **teacher))
    each = [
        -sum(p * q for p, q in zip(t.softmax(0), s.log_softmax(0), strict=True)) for s, t in zip(z_s, z_t, strict=True)
    ]
    assert terms["similarity"].item() == pytest.approx(0.5 * sum(each).item() / 6)
    assert terms["adversarial"].item() == pytest.approx(-2.0 * meal.error(method.discriminator, z_s, z_t).item())


def test_meals_student_moves_to_where_the_discriminator_errs(
    build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, MEAL)
    student, teacher = student_and_teacher(random)
    terms = method.loss(batch_of(6), Outputs("student", **student), Outputs("teacher", **teacher))
    (direction,) = torch.autograd.grad(terms["adversarial"], student["logits"])
    before = meal.error(method.discriminator, student["logits"], teacher["logits"])
    after = meal.error(method.discriminator, student["logits"] - 1e-3 * direction, teacher["logits"])
    assert after > before


@pytest.mark.parametrize("cls", [ANC, MEAL])
def test_the_discriminator_learns_to_tell_and_leaves_the_student_alone(
    cls: type[ANC | MEAL], build: Callable[..., Any], batch_of: Callable[..., Batch], random: Random
) -> None:
    method = built(build, cls, discriminator_rate=0.01)
    student, teacher = student_and_teacher(random)
    student_side = Outputs("student", **student), Outputs("teacher", **teacher)
    first = method.loss(batch_of(6), *student_side)["adversarial"].item()
    for _ in range(100):
        last = method.loss(batch_of(6), *student_side)["adversarial"].item()
    assert last > first  # the student's part of the loss grows as the discriminator learns
    assert all(value.grad is None for value in student.values())


@pytest.mark.parametrize("cls", [ANC, MEAL])
def test_the_suites_optimizer_leaves_the_discriminator_to_its_own(cls: type[ANC | MEAL]) -> None:
    trainer = Bench(cls).trainer()
    own = {id(p) for p in trainer.method.discriminator.parameters()}
    assert own == {id(p) for p in trainer.method.adam.targets}
    assert not own & {id(p) for p in trainer.parameters}
    before = parameters(trainer.method.discriminator)
    trainer.step(next(batches(trainer)))
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.method.discriminator.parameters(), strict=True))
