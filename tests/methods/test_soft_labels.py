"""Tf-KD_reg and PS-KD: labels softened by a hand-made teacher and by the student's own past."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Outputs
from kdbench_methods.pskd import PSKD
from kdbench_methods.tfkd_reg import TfKDReg, virtual_teacher

NONE = Outputs("teacher")


def outputs(logits: Tensor) -> Outputs:
    return Outputs("student", logits=logits)


def test_tfkd_reg_equals_the_authors_loss_of_resnet18(build: Callable, batch_of: Callable, random: Callable) -> None:
    """loss_kd_regularization of their my_loss_function.py with alpha 0.1, T 20 and multiplier 100, on 100 classes."""
    z, batch = random(6, 100), batch_of(6)
    mean = 0.0
    for row, label in zip(z, batch.labels.tolist(), strict=True):
        u = [0.99 if c == label else 0.01 / 99 for c in range(100)]
        total = sum(math.exp(value / 20) for value in u)
        for value, log_p in zip(u, row.log_softmax(0).tolist(), strict=True):
            q = math.exp(value / 20) / total
            mean += q * (math.log(q) - log_p) / 600
    terms = build(TfKDReg, {}, {}).loss(batch, outputs(z), NONE)
    assert terms["ce"].item() == pytest.approx(0.9 * F.cross_entropy(z, batch.labels).item())
    assert terms["teacher"].item() == pytest.approx(0.1 * 100 * mean, rel=1e-5)


def test_a_student_that_says_what_the_virtual_teacher_says_has_nothing_to_learn_from_it(
    build: Callable, batch_of: Callable
) -> None:
    batch = batch_of(5)
    said = virtual_teacher(batch.labels, 3, right=0.9, temperature=2.0).double()
    terms = build(TfKDReg, {}, {}, temperature=2.0, right=0.9).loss(batch, outputs(said + 3.0), NONE)
    assert terms["teacher"].item() == pytest.approx(0, abs=1e-9)
    assert said.argmax(1).tolist() == batch.labels.tolist()
    assert said.exp().sum(1).tolist() == pytest.approx([1.0] * 5)


def pskd_loss(method: PSKD, batch: Batch, logits: Tensor) -> Tensor:
    return torch.stack(list(method.loss(batch, outputs(logits), NONE).values())).sum()


def test_pskd_learns_from_labels_in_the_first_epoch(build: Callable, batch_of: Callable, random: Callable) -> None:
    z, batch = random(7, 3), batch_of(7)
    method = build(PSKD, {}, {})
    method.epochs = 10
    assert pskd_loss(method, batch, z).item() == pytest.approx(F.cross_entropy(z, batch.labels).item())


def test_pskd_then_mixes_in_what_it_said_of_the_same_image(
    build: Callable, batch_of: Callable, random: Callable
) -> None:
    method, share = build(PSKD, {}, {}, final_share=0.6), 0.0
    method.epochs = 4
    past: dict[int, list[float]] = {}
    for epoch in range(4):
        share = 0.6 * (epoch + 1) / 4
        for part in torch.randperm(12, generator=torch.Generator().manual_seed(epoch)).split(5):
            z, batch = random(len(part), 3, seed=20 * epoch + int(part[0])), batch_of(len(part), epoch)
            batch = replace(batch, index=part, labels=part % 3)
            expected = 0.0
            for i, row in zip(part.tolist(), z, strict=True):
                for c in range(3):
                    label = float(c == i % 3)
                    target = (1 - share) * label + share * (past[i][c] if epoch else label)
                    expected -= target * row.log_softmax(0)[c].item() / len(part)
                past[i] = row.softmax(0).tolist()
            assert pskd_loss(method, batch, z).item() == pytest.approx(expected, rel=1e-6)
    assert share == 0.6


def test_pskd_lets_no_gradient_into_its_targets(build: Callable, batch_of: Callable, random: Callable) -> None:
    method, z, batch = build(PSKD, {}, {}), random(6, 3).requires_grad_(), batch_of(6, 0)
    method.epochs = 1
    method.loss(batch, outputs(random(6, 3, seed=5).requires_grad_()), NONE)
    target = 0.2 * F.one_hot(batch.labels, 3) + 0.8 * method.predictions[:6]
    pskd_loss(method, batch, z).backward()
    assert not method.predictions.requires_grad
    assert torch.allclose(z.grad, (z.detach().softmax(1) - target) / 6)
