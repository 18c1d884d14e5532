"""Whole trainings of the self-distillation methods: what they add to the plain student's, and what stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench import Method
from kdbench.checks.bench import Bench, batches
from kdbench_methods.ban import BAN
from kdbench_methods.byot import BYOT
from kdbench_methods.cskd import CSKD
from kdbench_methods.dlb import DLB
from kdbench_methods.pskd import PSKD
from kdbench_methods.snapshot import Snapshot
from kdbench_methods.tfkd_reg import TfKDReg
from kdbench_methods.tfkd_self import TfKDSelf
from kdbench_methods.vanilla import Vanilla


def trained(cls: type[Method], **params: float) -> dict[str, Tensor]:
    """The student's weights and buffers after a short training."""
    bench = Bench(cls)
    trainer = bench.trainer(params=params)
    bench.train(trainer)
    return trainer.student.state_dict()


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (TfKDReg, {"ce_weight": 1.0, "teacher_weight": 0.0}),
        (PSKD, {"final_share": 0.0}),
        (BAN, {"generations": 2, "kd_weight": 0.0}),
        (TfKDSelf, {"ce_weight": 1.0, "kd_weight": 0.0}),
        (BYOT, {"head_ce_weight": 0.0, "head_kd_weight": 0.0, "hint_weight": 0.0}),
    ],
)
def test_without_its_own_term_a_method_trains_the_plain_student(cls: type[Method], params: dict[str, float]) -> None:
    plain, found = trained(Vanilla), trained(cls, **params)
    assert all(torch.equal(value, found[name]) for name, value in plain.items())


@pytest.mark.parametrize("cls", [CSKD, DLB])
def test_batch_norm_sees_the_further_images_too(cls: type[Method]) -> None:
    trainer = Bench(cls).trainer()
    [norm, *_] = [m for m in trainer.student.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for number, batch in enumerate(batches(trainer), start=1):
        trainer.step(batch)
        assert norm.num_batches_tracked == 2 * number


def test_generations_are_trained_one_after_the_other() -> None:
    bench = Bench(BAN)
    trainer = bench.trainer(params={"generations": 2})
    before = trainer.tensors()
    before = {name: value.clone() for name, value in before.items()}
    for number, (epoch, moved) in enumerate([(0, "method.earlier.0."), (2, "method.earlier.1."), (4, "student.")]):
        trainer.train_epoch(trainer.enter_stage(epoch))
        now = trainer.tensors()
        changed = {
            name for name, value in now.items() if name.endswith("weight") and not torch.equal(value, before[name])
        }
        assert number == trainer.stages.index(trainer.stage)
        assert changed
        assert all(name.startswith(moved) for name in changed)
        before = {name: value.clone() for name, value in now.items()}


def test_the_snapshot_is_the_student_at_the_end_of_the_cycle_before() -> None:
    bench = Bench(Snapshot)
    trainer = bench.trainer(params={"cycles": 3})
    assert (trainer.stage.epochs, trainer.stage.cycles) == (3, 3)
    for epoch in range(3):
        student = {name: value.clone() for name, value in trainer.student.state_dict().items()}
        terms = trainer.train_epoch(trainer.enter_stage(epoch))
        assert (terms["kd"] > 0) == (epoch > 0)
        if epoch:
            snapshot = trainer.method.snapshot.model.state_dict()
            assert all(torch.equal(value, snapshot[name]) for name, value in student.items())
    rates = [trainer.feed(epoch).rate.tolist() for epoch in range(3)]
    assert rates[0] == rates[1] == rates[2]
    assert rates[0][0] > rates[0][-1]
