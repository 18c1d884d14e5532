"""BAN and Tf-KD_self: generations of one architecture, each taught by the one before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Outputs
from kdbench.networks.own import OwnNetwork
from kdbench_methods.ban import BAN
from kdbench_methods.kd import KD
from kdbench_methods.parts.generations import Generations
from kdbench_methods.tfkd_self import TfKDSelf
from tests.methods.small import small_setup

CLASSES = 100


def network(role: str) -> OwnNetwork:
    """One with batch norm, whose outputs depend on its mode."""
    assert role == "student"
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))
    return OwnNetwork(model, lambda images: Outputs("student", logits=model(images)), nullcontext)


def made(cls: type[Generations], **params: Any) -> Generations:
    torch.manual_seed(0)
    method = cls(cls.Params.model_validate(params))
    method.build(small_setup(epochs=5, network=network, num_classes=CLASSES))
    return method.double().train()


@pytest.fixture
def batch() -> Batch:
    index, images = torch.arange(6), torch.randn(6, 1, 8, 8, dtype=torch.float64)
    return Batch(images, index * 7, index, index, torch.tensor(0), torch.tensor(0), torch.tensor(0.0))


def outputs(logits: Tensor) -> Outputs:
    return Outputs("student", logits=logits)


def run(generation: OwnNetwork, images: Tensor) -> Tensor:
    """Its logits as a teacher."""
    generation.model.eval()
    with torch.no_grad():
        logits = generation.model(images)
    generation.model.train()
    return logits


def test_every_generation_is_trained_as_long_as_the_student_and_without_it() -> None:
    stages = made(BAN, generations=2).stages()
    assert [stage.name for stage in stages] == ["generation_0", "generation_1"]
    assert [stage.epochs for stage in stages] == [5, 5]
    assert all(stage.requires == frozenset() for stage in stages)


def test_the_first_generation_learns_from_the_labels_alone(batch: Batch) -> None:
    method = made(BAN)
    terms = method.stages()[0].loss(batch, Outputs("student"), Outputs("teacher"))
    assert set(terms) == {"ce"}
    assert terms["ce"].item() == pytest.approx(
        F.cross_entropy(method.earlier[0].model(batch.images), batch.labels).item()
    )


def test_every_later_one_is_taught_by_the_one_before(batch: Batch, random: Callable[..., Tensor]) -> None:
    method = made(BAN, ce_weight=0.7, kd_weight=2.0, generations=3)
    for k in (1, 2, 3):
        before = run(method.earlier[k - 1], batch.images)
        if k < 3:
            terms = method.stages()[k].loss(batch, Outputs("student"), Outputs("teacher"))
            logits = method.earlier[k].model(batch.images)
        else:
            logits = random(6, CLASSES)
            terms = method.loss(batch, outputs(logits), Outputs("teacher"))
        ce = kd = 0.0
        for i in range(6):
            p, q = logits[i].softmax(0), before[i].softmax(0)
            ce -= p[batch.labels[i]].log().item() / 6
            kd += sum(q[c] * (q[c] / p[c]).log() for c in range(CLASSES)).item() / 6
        assert terms["ce"].item() == pytest.approx(0.7 * ce, rel=1e-9)
        assert terms["kd"].item() == pytest.approx(2.0 * kd, rel=1e-9)


def test_with_one_generation_it_is_kd_from_that_network(batch: Batch, random: Callable[..., Tensor]) -> None:
    weights = {"ce_weight": 0.1, "kd_weight": 0.9, "temperature": 4.0}
    method, logits = made(BAN, generations=1, **weights), random(6, CLASSES)
    teacher = Outputs("teacher", logits=run(method.earlier[0], batch.images))
    expected = KD(KD.Params.model_validate(weights)).loss(batch, outputs(logits), teacher)
    found = method.loss(batch, outputs(logits), Outputs("teacher"))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}
    )


def test_a_stage_trains_its_own_generation_and_leaves_its_teacher_alone(batch: Batch) -> None:
    method = made(BAN, generations=3)
    before = {name: value.clone() for name, value in method.earlier[0].state_dict().items()}
    terms = method.stages()[1].loss(batch, Outputs("student"), Outputs("teacher"))
    torch.stack(list(terms.values())).sum().backward()
    touched = {name.split(".")[1] for name, p in method.named_parameters() if p.grad is not None}
    assert touched == {"1"}
    assert all(torch.equal(value, before[name]) for name, value in method.earlier[0].state_dict().items())
    assert all(generation.model.training for generation in method.earlier)


def test_no_two_generations_begin_alike() -> None:
    first, second = made(BAN, generations=2).earlier
    assert not torch.equal(first.model[1].weight, second.model[1].weight)


def test_earlier_generations_are_recorded() -> None:
    method = made(BAN, generations=2)
    networks = method.networks(nn.Identity(), outputs)
    assert list(networks) == ["generation 0", "generation 1"]
    assert networks["generation 1"] is method.earlier[1].model


def test_tfkd_self_equals_the_authors_loss_of_resnet18(batch: Batch, random: Callable[..., Tensor]) -> None:
    """loss_kd_self of their my_loss_function.py with alpha 0.95, T 6 and multiplier 50, on 100 classes."""
    method, z = made(TfKDSelf), random(6, CLASSES)
    assert len(method.earlier) == 1
    z_t = run(method.earlier[0], batch.images)
    mean = sum(
        (q * (q.log() - p.log())).item()
        for row_s, row_t in zip(z, z_t, strict=True)
        for p, q in zip((row_s / 6).softmax(0), (row_t / 6).softmax(0), strict=True)
    ) / (6 * CLASSES)
    terms = method.loss(batch, outputs(z), Outputs("teacher"))
    assert terms["ce"].item() == pytest.approx(0.05 * F.cross_entropy(z, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(0.95 * mean * 36 * 50, rel=1e-9)
