"""Snapshot distillation: the student's own past, cycle by cycle."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Outputs, Setup, Shapes
from kdbench.networks.own import OwnNetwork
from kdbench_methods.snapshot import Snapshot, soft_teacher_loss


def model() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)).double()


def network(role: str) -> OwnNetwork:
    assert role == "student"
    own = model()
    return OwnNetwork(own, lambda images: Outputs("student", logits=own(images)), nullcontext)


def made(**params: Any) -> Snapshot:
    torch.manual_seed(0)
    method = Snapshot(Snapshot.Params.model_validate(params))
    method.build(
        Setup(
            student=Shapes("student"),
            teacher=Shapes("teacher"),
            train_labels=torch.arange(12) % 3,
            num_classes=3,
            mean=(0.0,),
            std=(1.0,),
            num_steps=10,
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(1),
            network=network,
        )
    )
    return method.train()


def test_the_learning_rate_runs_once_a_cycle() -> None:
    stage = made(cycles=3).main(12)
    assert (stage.name, stage.epochs, stage.cycles) == ("", 12, 3)


def test_the_student_is_copied_when_a_cycle_begins_and_at_no_other_time() -> None:
    method, student = made(cycles=3), model()
    method.main(12)
    copied = []
    for epoch in range(12):
        with torch.no_grad():
            student[2].weight.fill_(epoch)
            student[1].running_mean.fill_(epoch)
        method.before_epoch("", epoch, student)
        assert method.taken.item() == (epoch >= 4)
        copied.append(method.snapshot.model[2].weight[0, 0].item() if epoch >= 4 else None)
        if epoch >= 4:
            assert method.snapshot.model[1].running_mean[0] == copied[-1]
    assert copied == [None] * 4 + [4.0] * 4 + [8.0] * 4


def test_without_a_snapshot_it_learns_from_labels_alone(batch_of: Callable, random: Callable) -> None:
    z, batch = random(5, 3), batch_of(5)
    terms = made().loss(batch, Outputs("student", logits=z), Outputs("teacher"))
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(z, batch.labels).item())
    assert terms["kd"].item() == 0


def test_the_snapshot_teaches_in_evaluation_mode_and_alone_is_softened(batch_of: Callable, random: Callable) -> None:
    method, student, z, batch = made(cycles=2, temperature=2.5, kd_weight=0.8), model(), random(5, 3), batch_of(5)
    method.main(4)
    batch.images.copy_(random(5, 1, 8, 8, seed=4))
    method.before_epoch("", 2, student)
    said = student.eval()(batch.images)
    terms = method.loss(batch, Outputs("student", logits=z), Outputs("teacher"))
    kd = 0.0
    for row_s, row_t in zip(z.tolist(), said.tolist(), strict=True):
        p = [math.exp(v) / sum(map(math.exp, row_s)) for v in row_s]
        q = [math.exp(v / 2.5) / sum(math.exp(w / 2.5) for w in row_t) for v in row_t]
        kd += sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)) / 5
    assert terms["ce"].item() == pytest.approx(1.4 * F.cross_entropy(z, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(0.8 * kd)


def test_the_snapshot_is_not_trained(batch_of: Callable, random: Callable) -> None:
    method = made()
    assert not any(p.requires_grad for p in method.parameters())
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.loss(batch_of(5), Outputs("student", logits=random(5, 3)), Outputs("teacher"))
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_at_temperature_one_an_equal_teacher_has_nothing_to_say(random: Callable[..., Tensor]) -> None:
    z = random(4, 6)
    assert soft_teacher_loss(z, z, 1.0).item() == pytest.approx(0, abs=1e-12)
    assert soft_teacher_loss(z, z, 3.0).item() > 0.01
