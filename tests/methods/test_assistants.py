"""Methods with networks between teacher and student: takd, dgkd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, NotApplicable, Outputs, OwnNetwork
from kdbench.checks.bench import Bench, batches
from kdbench_methods.dgkd import DGKD
from kdbench_methods.kd import kd_loss
from kdbench_methods.takd import TAKD
from tests.methods.small import small_setup

Random = Callable[..., Tensor]
CLASSES = 3


def built(cls: type[Method], names: Sequence[str], **params: Any) -> Any:
    """A method with these assistants, small networks with batch norm in float64."""

    def network(name: str) -> OwnNetwork:
        torch.manual_seed(names.index(name))
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, CLASSES)).double()
        return OwnNetwork(model, lambda images: Outputs(name, logits=model(images)), nullcontext)

    method = cls(cls.Params.model_validate(params))
    method.build(small_setup(epochs=7, network=network, assistants=tuple(names)))
    return method.train()


@pytest.fixture
def batch(random: Random) -> Batch:
    """Eight random images of three classes."""
    index = torch.arange(8)
    now = torch.tensor(0)
    return Batch(random(8, 1, 8, 8), index % CLASSES, index, index, now, now, torch.tensor(0.0))


def logits_of(random: Random) -> tuple[Outputs, Outputs]:
    return Outputs("student", logits=random(8, CLASSES, seed=5)), Outputs("teacher", logits=random(8, CLASSES, seed=6))


@pytest.mark.parametrize("cls", [TAKD, DGKD])
def test_a_pair_without_assistants_is_declined(cls: type[Method]) -> None:
    with pytest.raises(NotApplicable, match="no assistants"):
        built(cls, [])


@pytest.mark.parametrize("cls", [TAKD, DGKD])
def test_assistants_are_trained_one_by_one_as_long_as_the_student(cls: type[Method]) -> None:
    method = built(cls, ["large", "small"])
    assert [(stage.name, stage.epochs) for stage in method.stages()] == [("assistant 1", 7), ("assistant 2", 7)]
    assert list(method.networks(nn.Identity(), method.loss)) == ["assistant 1", "assistant 2"]
    assert method.networks(nn.Identity(), method.loss)["assistant 2"] is method.assistants[1].model


def test_takd_runs_the_teacher_for_the_first_assistant_alone() -> None:
    method = built(TAKD, ["large", "small"])
    assert [stage.requires for stage in method.stages()] == [{"teacher.logits"}, frozenset()]
    assert method.main(7).requires == {"student.logits"}
    assert method.main(7).epochs == 7


def test_takd_hands_on_from_one_network_to_the_next(batch: Batch, random: Random) -> None:
    method = built(TAKD, ["large", "small"], ce_weight=0.5, kd_weight=2.0, temperature=3.0)
    student, teacher = logits_of(random)
    chain = [teacher.logits, *(a.frozen(batch.images).logits for a in method.assistants)]
    for i, stage in enumerate(method.stages()):
        terms = stage.loss(batch, Outputs("student"), teacher if i == 0 else Outputs("teacher"))
        learner = method.assistants[i](batch.images).logits
        assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(learner, batch.labels).item())
        chain[i + 1] = method.assistants[i].frozen(batch.images).logits  # its running statistics have moved
        assert terms["kd"].item() == pytest.approx(2 * kd_loss(learner, chain[i], 3.0).item())
    terms = method.loss(batch, student, Outputs("teacher"))
    assert terms["kd"].item() == pytest.approx(2 * kd_loss(student.logits, chain[-1], 3.0).item())


@pytest.mark.parametrize("cls", [TAKD, DGKD])
def test_only_the_learner_of_a_stage_changes(cls: type[Method], batch: Batch, random: Random) -> None:
    method = built(cls, ["large", "small"])
    student, teacher = logits_of(random)
    for i, stage in enumerate(method.stages()):
        statistics = [a.model[1].running_mean.clone() for a in method.assistants]
        terms = stage.loss(batch, student, teacher)
        gradients = torch.autograd.grad(sum(terms.values()), list(method.parameters()), allow_unused=True)  # type: ignore[arg-type]
        reached = [gradient is not None for gradient in gradients]
        assert reached == [k == i for k in range(2) for _ in method.assistants[k].parameters()]
        moved = [not a.model[1].running_mean.equal(s) for a, s in zip(method.assistants, statistics, strict=True)]
        assert moved == [k == i for k in range(2)]
    terms = method.loss(batch, Outputs("student", logits=student.logits.requires_grad_()), teacher)
    gradients = torch.autograd.grad(terms["kd"], list(method.parameters()), allow_unused=True)
    assert not any(gradient is not None for gradient in gradients)


def test_dgkd_teaches_every_network_by_all_larger_ones(batch: Batch, random: Random) -> None:
    method = built(DGKD, ["large", "small"], ce_weight=0.5, kd_weight=2.0, temperature=3.0, dropped=0)
    student, teacher = logits_of(random)
    teachers = [teacher.logits, *(a.frozen(batch.images).logits for a in method.assistants)]
    learner = method.assistants[1](batch.images).logits
    expected = 2 * sum(kd_loss(learner, z, 3.0).item() for z in teachers[:2])
    assert method.stages()[1].loss(batch, student, teacher)["kd"].item() == pytest.approx(expected)
    teachers[2] = method.assistants[1].frozen(batch.images).logits
    terms = method.loss(batch, student, teacher)
    assert terms["kd"].item() == pytest.approx(2 * sum(kd_loss(student.logits, z, 3.0).item() for z in teachers))
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(student.logits, batch.labels).item())


@pytest.mark.parametrize(("dropped", "kept"), [(1, 2), (2, 1), (5, 1)])
def test_dgkd_leaves_out_other_teachers_of_the_student_in_every_batch(
    batch: Batch, random: Random, dropped: int, kept: int
) -> None:
    method = built(DGKD, ["large", "small"], ce_weight=0.0, kd_weight=1.0, dropped=dropped)
    student, teacher = logits_of(random)
    teachers = [teacher.logits, *(a.frozen(batch.images).logits for a in method.assistants)]
    each = torch.tensor([kd_loss(student.logits, z, 4.0).item() for z in teachers])
    sums = {round(each[list(chosen)].sum().item(), 4): chosen for chosen in ((0, 1), (0, 2), (1, 2), (0,), (1,), (2,))}
    seen = [sums[round(method.loss(batch, student, teacher)["kd"].item(), 4)] for _ in range(40)]
    assert {len(chosen) for chosen in seen} == {kept}
    assert len(set(seen)) == 3


def test_dgkd_with_one_assistant_and_nothing_dropped_is_kd_from_both(batch: Batch, random: Random) -> None:
    student, teacher = logits_of(random)
    dense, chain = built(DGKD, ["large"], dropped=0), built(TAKD, ["large"])
    both = dense.loss(batch, student, teacher)["kd"].item()
    from_assistant = chain.loss(batch, student, teacher)["kd"].item()
    assert both == pytest.approx(from_assistant + 0.9 * kd_loss(student.logits, teacher.logits, 4.0).item())


@pytest.mark.parametrize("cls", [TAKD, DGKD])
def test_the_student_waits_for_its_assistants_which_then_stay_as_they_are(cls: type[Method]) -> None:
    trainer = Bench(cls).trainer()
    student = {name: value.clone() for name, value in trainer.student.state_dict().items()}
    for batch in batches(trainer):
        before = {name: value.clone() for name, value in trainer.method.state_dict().items()}
        trainer.step(batch)
        after = trainer.method.state_dict()
        if trainer.stage.name:
            assert all(value.equal(student[name]) for name, value in trainer.student.state_dict().items())
            assert not after["assistants.0.model.fc.weight"].equal(before["assistants.0.model.fc.weight"])
        else:
            assert all(value.equal(before[name]) for name, value in after.items())
    assert not trainer.student.state_dict()["fc.weight"].equal(student["fc.weight"])
