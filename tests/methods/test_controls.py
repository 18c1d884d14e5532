"""Controls: what a method must beat to have taught anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Outputs
from kdbench.checks.bench import Bench, batches
from kdbench_methods.kd import KD
from kdbench_methods.kd_ce import KDCE
from kdbench_methods.label_smoothing import LabelSmoothing
from kdbench_methods.random_teacher import RandomTeacher
from kdbench_methods.shuffled_logits import ShuffledLogits


def batch_of(tensors: dict[str, Tensor]) -> Batch:
    zero = torch.tensor(0)
    return Batch(tensors["zs"], tensors["labels"], zero, None, zero, zero, torch.tensor(0.0))


def test_label_smoothing_is_cross_entropy_with_mixed_labels(tensors: dict[str, Tensor]) -> None:
    soft = 0.9 * F.one_hot(tensors["labels"], 10).double() + 0.01
    expected = -(soft * tensors["zs"].log_softmax(dim=1)).sum(dim=1).mean()
    student = Outputs("student", logits=tensors["zs"])
    terms = LabelSmoothing(LabelSmoothing.Params()).loss(batch_of(tensors), student, Outputs("teacher"))
    assert terms["ce"].item() == pytest.approx(expected.item(), rel=1e-9)


def test_shuffled_logits_is_kd_from_the_same_logits_in_another_order(tensors: dict[str, Tensor]) -> None:
    method = ShuffledLogits(ShuffledLogits.Params())
    method.generator = torch.Generator().manual_seed(0)
    order = torch.rand(4, generator=torch.Generator().manual_seed(0)).argsort()
    assert order.tolist() != [0, 1, 2, 3]
    student = Outputs("student", logits=tensors["zs"])
    shuffled = method.loss(batch_of(tensors), student, Outputs("teacher", logits=tensors["zt"]))
    direct = KD(KD.Params()).loss(batch_of(tensors), student, Outputs("teacher", logits=tensors["zt"][order]))
    assert shuffled["kd"].item() == pytest.approx(direct["kd"].item())
    assert shuffled["ce"].item() == pytest.approx(direct["ce"].item())


def test_a_random_teacher_has_the_teachers_architecture_and_other_fixed_weights(tmp_path: Path) -> None:
    bench = Bench(RandomTeacher)
    trainer = bench.trainer()
    assert bench.teacher is not None
    network = trainer.method.random_teacher.model
    own, trained = dict(network.named_parameters()), dict(bench.teacher.named_parameters())
    assert own.keys() == trained.keys()
    assert not all(torch.equal(own[name], trained[name]) for name in own)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for batch in batches(trainer):
        trainer.step(batch)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_kd_ce_is_kd_with_equal_weights() -> None:
    assert KDCE.Params().model_dump() == {"temperature": 4.0, "ce_weight": 1.0, "kd_weight": 1.0}
    assert KDCE.loss is KD.loss
