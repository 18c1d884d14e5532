"""Methods that learn task after task: what teaches them, and from when on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import Batch, Outputs, Setup, Shapes
from kdbench.networks.own import OwnNetwork
from kdbench_methods.icarl import ICaRL
from kdbench_methods.lwf import LwF
from kdbench_methods.parts.predecessor import Predecessor
from kdbench_methods.podnet import PODNet, flat_loss, spatial_loss

TASKS = ((2,), (0, 1))
METHODS = [LwF, ICaRL, PODNet]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()


def outputs(network: nn.Module, images: Tensor) -> Outputs:
    maps = [images * (1 + level) * network[1].weight.mean() for level in range(2)]  # type: ignore[index, union-attr]
    return Outputs("student", logits=network(images), pre_activations=maps)


def made(cls: type[Predecessor], **params: Any) -> Predecessor:
    def network(role: str) -> OwnNetwork:
        assert role == "student"
        own = model()
        return OwnNetwork(own, lambda images: outputs(own, images), nullcontext)  # type: ignore[arg-type]

    torch.manual_seed(0)
    method = cls(cls.Params.model_validate(params))
    common = {"num_classes": 3, "mean": (0.0,), "std": (1.0,), "num_steps": 10, "device": torch.device("cpu")}
    given = {"train_labels": torch.arange(0), "generator": torch.Generator(), "network": network, "tasks": TASKS}
    method.build(Setup(Shapes("student"), Shapes("teacher"), **common, **given))  # type: ignore[arg-type]
    return method.train()


@pytest.fixture
def batch(batch_of: Callable[..., Batch], random: Callable[..., Tensor]) -> Batch:
    return replace(batch_of(6), images=random(6, 1, 8, 8, seed=2), task=1)


@pytest.mark.parametrize("cls", METHODS)
def test_nothing_teaches_in_the_first_task(cls: type[Predecessor], batch: Batch) -> None:
    method, student = made(cls), model()
    assert len(method.loss(replace(batch, task=0), outputs(student, batch.images), Outputs("teacher"))) == 1
    assert len(method.loss(batch, outputs(student, batch.images), Outputs("teacher"))) > 1


@pytest.mark.parametrize("cls", METHODS)
def test_the_teacher_of_a_task_is_the_student_before_its_first_epoch(cls: type[Predecessor], batch: Batch) -> None:
    method, student = made(cls), model()
    method.before_epoch("", 0, student)
    own = outputs(student, batch.images)
    assert torch.equal(method.taught(batch).logits, own.logits)
    with torch.no_grad():
        student[1].weight.add_(1.0)
    method.before_epoch("", 1, student)
    assert torch.equal(method.taught(batch).logits, own.logits)
    assert not any(p.requires_grad for p in method.parameters())


def test_classes_are_old_and_new_in_the_order_in_which_they_come() -> None:
    method = made(LwF)
    assert [method.old(t).tolist() for t in range(2)] == [[], [2]]
    assert [method.new(t).tolist() for t in range(2)] == [[2], [0, 1]]


def test_what_says_the_same_as_before_costs_podnet_nothing(random: Callable[..., Tensor]) -> None:
    maps = [random(4, 3, 5, 5), random(4, 6, 2, 2, seed=1)]
    assert spatial_loss(maps, [m.clone() for m in maps]).item() == 0
    assert spatial_loss([2 * m for m in maps], maps).item() == pytest.approx(0, abs=1e-12)  # lengths do not matter
    assert flat_loss(maps[0].flatten(1), 3 * maps[0].flatten(1)).item() == pytest.approx(0, abs=1e-12)


def test_icarl_asks_the_old_network_of_old_classes_whatever_the_label_says(batch: Batch) -> None:
    method, student = made(ICaRL), model()
    method.before_epoch("", 0, student)
    own = outputs(student, batch.images)
    first = method.loss(batch, own, Outputs("teacher"))
    others = method.loss(replace(batch, labels=torch.full_like(batch.labels, 2)), own, Outputs("teacher"))
    assert torch.equal(first["kd"], others["kd"])
    assert not torch.equal(first["classes"], others["classes"])
