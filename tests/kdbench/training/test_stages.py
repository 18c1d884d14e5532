"""The main stage of another length, its cycles, and what a method does between epochs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Stage
from kdbench.checks.bench import Bench
from kdbench.running.describe import changed_stages, cost_of
from kdbench.schedule import learning_rate
from kdbench.training.contract import check_stages


class Cycles(Method):
    """The plain student over twice the epochs, its schedule run three times, under the copy of each cycle's start."""

    name, version = "cycles", 1
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})

    def build(self, setup) -> None:  # type: ignore[no-untyped-def]
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.past = setup.network("student").requires_grad_(False)

    def main(self, epochs: int) -> Stage:
        return Stage("", 2 * epochs, self.loss, cycles=3)

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        self.epochs += 1
        if epoch % 2 == 0:
            self.past.model.load_state_dict(student.state_dict())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        past = self.past.frozen(batch.images).logits
        return {"ce": nn.functional.cross_entropy(student.logits, batch.labels + 0 * past.argmax(dim=1))}


def test_the_schedule_of_a_main_stage_runs_as_often_as_it_has_cycles() -> None:
    trainer = Bench(Cycles).trainer()
    assert (trainer.stages[-1].epochs, trainer.recipe.epochs) == (6, 3)
    rates = torch.stack([trainer.feed(epoch).rate for epoch in range(6)])
    cycle = trainer.recipe.shortened(2)
    steps = trainer.steps_per_epoch
    expected = torch.tensor([learning_rate(cycle, step, steps) for step in range(2 * steps)]).view(2, steps)
    assert torch.equal(rates, expected.repeat(3, 1))
    assert trainer.feed(5).progress[-1] == pytest.approx((6 * steps - 1) / (6 * steps))


def test_milestones_keep_their_place_in_a_longer_main_stage() -> None:
    trainer = Bench(Cycles).trainer()
    trainer.replan([Stage("", 6, trainer.method.loss)])
    trainer.recipe = trainer.recipe.model_copy(update={"schedule": "multistep", "milestones": (2,), "decay": 0.1})
    rates = [trainer.feed(epoch).rate[0].item() for epoch in range(6)]
    assert rates == pytest.approx([0.01] * 4 + [0.001] * 2)


def test_an_earlier_stage_has_the_recipes_milestones_unless_it_rescales_them() -> None:
    trainer = Bench(Cycles).trainer()
    milestones = {"schedule": "multistep", "epochs": 9, "milestones": (6,), "decay": 0.1}
    trainer.recipe = trainer.recipe.model_copy(update=milestones)
    for rescaled, rates in ((False, [0.01] * 3), (True, [0.01] * 2 + [0.001])):
        trainer.enter(Stage("warm_up", 3, trainer.method.loss, rescaled=rescaled))
        assert [trainer.feed(epoch).rate[0].item() for epoch in range(3)] == pytest.approx(rates)


def test_between_epochs_a_method_sees_the_student_of_that_moment() -> None:
    trainer = Bench(Cycles).trainer()
    Bench(Cycles).train(trainer)
    assert trainer.method.epochs == 6
    past, now = trainer.method.past.model.state_dict(), trainer.student.state_dict()
    assert not torch.equal(past["fc.weight"], now["fc.weight"])
    assert len(trainer.curve["ce"]) == 6


def test_the_record_says_that_the_main_stage_differs() -> None:
    trainer = Bench(Cycles).trainer()
    Bench(Cycles).train(trainer)
    assert changed_stages(trainer) == ["6 epochs instead of the suite's 3", "the learning rate's schedule runs 3 times"]
    assert cost_of(trainer).main_epochs == 6


class Slow(Cycles):
    """A hint stage and a main stage with learning rates of their own."""

    def stages(self) -> list[Stage]:
        return [Stage("hint", 1, self.loss, 0.25)]

    def main(self, epochs: int) -> Stage:
        return Stage("", epochs, self.loss, 0.5)


def test_the_record_says_learning_rates_that_are_not_the_recipes() -> None:
    trainer = Bench(Slow).trainer()
    assert changed_stages(trainer) == [
        "a stage 'hint' of 1 epochs before the others, at a learning rate of 0.25",
        "2 epochs instead of the suite's 3",
        f"a learning rate of 0.5 instead of {trainer.recipe.learning_rate:g}",
    ]


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([("", 1, 1), ("", 1, 1)], "must have names, each once"),
        ([("a", 1, 1), ("a", 1, 1), ("", 1, 1)], "must have names, each once"),
        ([("main", 1, 1)], "must give a stage without a name, not 'main'"),
        ([("", 0, 1)], "the main stage of x has 0 epochs"),
        ([("a", 1, 1, 0.0), ("", 1, 1)], "stage 'a' of x has a learning rate of 0; it must be above 0"),
        ([("a", 3, 2), ("", 1, 1)], "stage 'a' of x has 3 epochs, which are not 2 equal cycles"),
    ],
)
def test_stages_that_make_no_sense_are_told(stages: list[tuple[Any, ...]], said: str) -> None:
    def loss(*_: object) -> dict[str, Tensor]:
        return {}

    with pytest.raises(TypeError, match=said):
        check_stages("x", [Stage(name, epochs, loss, *rate, cycles=cycles) for name, epochs, cycles, *rate in stages])


def test_whether_a_stage_is_rescaled_is_true_or_false() -> None:
    loss = Bench(Cycles).trainer().method.loss
    with pytest.raises(TypeError, match="stage 'a' of x has rescaled='no'; it is True or False"):
        check_stages("x", [Stage("a", 1, loss, rescaled="no"), Stage("", 1, loss)])  # type: ignore[arg-type]
