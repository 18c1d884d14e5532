"""Checks of the protocol catch the methods that train otherwise than the suite's recipe says."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Adam, Batch, Method, Outputs, Setup
from kdbench.checks import run_check
from kdbench.checks.bench import Bench
from kdbench.running.describe import changed_stages
from tests.kdbench.checks.good import NETWORK, Good, Holding, assert_caught, each


class OwnAdam(Holding):
    """Trains the student with an Adam of its own."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.adam = Adam(setup.student_network.parameters(), 1e-3)


class StepsInInputs(Holding):
    """Takes a step of its own before each of the suite's."""

    def inputs(self, batch: Batch) -> Batch:
        network = self.held()
        gradients = torch.autograd.grad(F.cross_entropy(network(batch.images), batch.labels), network.parameters())
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.sub_(0.01 * gradient)
        return batch


class StepsPastTheVersionCounter(Holding):
    """Changes weights in the loss by way of `.data`."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        for parameter in self.held().parameters():
            parameter.data.mul_(0.999)
        return super().loss(batch, student, teacher)


class StepsInTheBackwardPass(Holding):
    """Changes weights when a gradient reaches its logits."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        def step(gradient: Tensor) -> None:
            for parameter in self.held().parameters():
                parameter.data.mul_(0.999)

        student.logits.register_hook(step)
        return super().loss(batch, student, teacher)


class ScalesGradients(Holding):
    """Multiplies the student's gradients by way of hooks, which is another learning rate."""

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        for parameter in student.parameters():
            parameter.register_hook(lambda gradient: 10 * gradient)


class ReplacesTheOptimizer(Good):
    """Finds the trainer and gives it another optimizer."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        import sys

        trainer = sys._getframe(1).f_locals.get("self")
        if hasattr(trainer, "optimizer"):
            trainer.optimizer = torch.optim.Adam(trainer.parameters, lr=0.01)
        return super().loss(batch, student, teacher)


class TunesTheOptimizer(Good):
    """Finds the trainer and raises its momentum."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        import sys

        trainer = sys._getframe(1).f_locals.get("self")
        if hasattr(trainer, "optimizer"):
            trainer.optimizer.param_groups[0]["momentum"] = 0.5
        return super().loss(batch, student, teacher)


class TrainsBetweenEpochs(Good):
    """Shrinks the student's weights before each epoch."""

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.mul_(0.99)


class BatchNormMomentum(Good):
    """Slows the student's batch norms down."""

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        for module in student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01


class MomentumInBuild(Good):
    """The same in build, by way of the reader that it is given."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        for module in setup.read_student.__closure__[-1].cell_contents.model.modules():  # type: ignore[attr-defined]
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01


class FreezesTheStem(Good):
    """Stops training the student's first layer."""

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        next(iter(student.parameters())).requires_grad_(False)


class EvaluationMode(Holding):
    """Trains the student in evaluation mode."""

    def inputs(self, batch: Batch) -> Batch:
        self.held().eval()
        return batch


class WarmStart(Holding):
    """Begins from other weights, and says nothing of it."""

    deviations = ()

    def build(self, setup: Setup) -> None:
        super().build(setup)
        with torch.no_grad():
            for parameter in setup.student_network.parameters():
                parameter.mul_(0.5)


class ChangesTheDropout(Holding):
    """Puts a dropout before the student's classifier, and says nothing of it."""

    deviations = ()

    def build(self, setup: Setup) -> None:
        super().build(setup)
        setup.student_network.register_forward_pre_hook(lambda module, images: (F.dropout(images[0], 0.1),))


class MovesStatistics(Good):
    """Runs the student once more a step, which moves its batch statistics, and says nothing of it."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.read = setup.read_student

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        with torch.no_grad():
            again = self.read(batch.images.flip(3)).logits
        return self.with_term(F.mse_loss(student.logits, again), batch, student, teacher)


class MovesStatisticsBetweenEpochs(MovesStatistics):
    """The same before an epoch."""

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        with torch.no_grad():
            self.read(torch.ones(8, 1, 8, 8))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return Good.loss(self, batch, student, teacher)


class ChangesImagesUnseen(Good):
    """Turns images black through numpy, which no version counter sees."""

    deviations = ("says something",)

    def inputs(self, batch: Batch) -> Batch:
        batch.images.numpy()[:4] = 0
        return batch


class ChangesLabelsUnseen(Good):
    """Changes labels in place through `.data`."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        batch.labels.data.copy_(teacher.logits.argmax(dim=1))
        return super().loss(batch, student, teacher)


class OtherLabels(Good):
    """Trains on labels of its own, and says nothing of it."""

    def inputs(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, labels=(batch.labels + 1) % 10)


class DropsImages(Good):
    """Trains on half of each batch, and says nothing of it."""

    def inputs(self, batch: Batch) -> Batch:
        half = slice(0, max(1, len(batch.labels) // 2))
        return dataclasses.replace(batch, images=batch.images[half], labels=batch.labels[half], index=batch.index[half])


BROKEN = [
    (OwnAdam, "keeps_to_the_recipe", "to an Adam of its own: the suite's optimizer alone trains it"),
    (StepsInInputs, "keeps_to_the_recipe", "inputs changes the student's"),
    (StepsPastTheVersionCounter, "keeps_to_the_recipe", "loss changes the student's"),
    (StepsInTheBackwardPass, "keeps_to_the_recipe", "loss changes the student's"),
    (ScalesGradients, "keeps_to_the_recipe", "before_epoch changes the student (hooks"),
    (ReplacesTheOptimizer, "keeps_to_the_recipe", "replaces the suite's optimizer"),
    (TunesTheOptimizer, "keeps_to_the_recipe", "changes how the student's weights are stepped"),
    (TrainsBetweenEpochs, "keeps_to_the_recipe", "before_epoch changes the student's"),
    (BatchNormMomentum, "keeps_to_the_recipe", "0.1 became 0.01"),
    (MomentumInBuild, "keeps_to_the_recipe", "name 'student.network' in `requires`"),
    (FreezesTheStem, "keeps_to_the_recipe", "requires_grad"),
    (EvaluationMode, "keeps_to_the_recipe", "leaves modules of the student in evaluation mode"),
    (WarmStart, "keeps_to_the_recipe", "the student is changed before its training: its initial"),
    (ChangesTheDropout, "keeps_to_the_recipe", "the student is changed before its training: _forward_pre_hooks"),
    (MovesStatistics, "keeps_to_the_recipe", "loss runs the student in training mode"),
    (MovesStatisticsBetweenEpochs, "keeps_to_the_recipe", "before_epoch runs the student in training mode"),
    (ChangesImagesUnseen, "keeps_to_the_recipe", "inputs changes batch.images in place"),
    (ChangesLabelsUnseen, "keeps_to_the_recipe", "loss changes batch.labels in place"),
    (OtherLabels, "keeps_to_the_recipe", "inputs gives other labels than the suite's"),
    (DropsImages, "keeps_to_the_recipe", "inputs gives 8 images for 16 of a batch"),
    (DropsImages, "declares_changed_images", "keeps `view`"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)


class SlowsDown(Good):
    """Trains at a learning rate of its own."""

    def main(self, epochs: int) -> Any:
        return dataclasses.replace(super().main(epochs), learning_rate=0.5)


def test_another_learning_rate_stands_on_the_record() -> None:
    assert changed_stages(Bench(SlowsDown).trainer())[-1] == "a learning rate of 0.5 instead of 0.01"


class HoldsAClassifier(Good):
    """Registers the student's classifier, to read its weights."""

    requires = NETWORK

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.classifier = setup.student_network.get_classifier()

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.classifier.weight.square().mean(), batch, student, teacher)


def test_a_layer_of_the_student_that_a_method_holds_is_stepped_once() -> None:
    trainer, plain = Bench(HoldsAClassifier).trainer(), Bench(Good).trainer()
    assert len({id(p) for p in trainer.parameters}) == len(trainer.parameters) == len(plain.parameters)
    run_check(HoldsAClassifier, "keeps_to_the_recipe")
    run_check(HoldsAClassifier, "goes_on_where_it_stopped")


def test_what_is_seen_in_a_training_stands_on_the_record_whichever_step_is_watched() -> None:
    trainer = Bench(MovesStatistics).trainer()
    trainer.watches = True
    trainer.next_epoch()
    assert changed_stages(trainer)[-1].startswith("loss runs the student in training mode")
