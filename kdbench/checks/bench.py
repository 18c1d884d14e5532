"""A method on small networks and random images, where a step takes milliseconds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.small import Dataset
from kdbench.errors import NotApplicable
from kdbench.given import Batch, Outputs
from kdbench.method import Method
from kdbench.plugins import wrong_params
from kdbench.running.plan import assemble
from kdbench.running.prepare import prepare, set_up_device
from kdbench.running.timing import untrained_teachers
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model, Pair
from kdbench.tasks import TASKS, Tasks
from kdbench.training.contract import check_terms
from kdbench.training.trainer import Trainer

CPU = torch.device("cpu")
BATCH, SAMPLES = 16, 40  # the third batch is a short one
SEED = 7
DISTILLED = "vit_w16_distilled"  # no network of the suite
PAIRS = {  # (teacher, student) of the suite "digits"
    # the second where channels must agree, the others for transformers, and for those with a distillation token
    "one family": [("resnet8", "resnet8_w4"), ("resnet8", "resnet8"), ("vit", "vit_w32"), ("vit", DISTILLED)],
    "across families": [("vit", "resnet8_w4")],
    "a transformer as the student": [("resnet8", "vit_w32")],
}


class CheckFailed(AssertionError):
    """What is wrong with a method, and what its author can do about it."""


@cache
def small_suite(has_tasks: bool = False) -> Suite:
    """The digits' networks and image size, with few samples, a low learning rate and no weight decay.

    Args:
        has_tasks: two tasks of five classes, and an image of each in memory.
    """
    digits = load_suite("digits")
    recipe = digits.recipe.model_copy(
        update={"epochs": 3, "batch_size": BATCH, "learning_rate": 0.01, "weight_decay": 0.0}
    )
    data = digits.data.model_copy(update={"train": SAMPLES, "train_fraction": None, "test": BATCH})
    between = {f"{teacher}:{student}": ("resnet8_w8",) for pairs in PAIRS.values() for teacher, student in pairs}
    tasks = Tasks(classes=(tuple(range(5)), tuple(range(5, 10))), memory=1) if has_tasks else None
    models = {**digits.models, DISTILLED: Model(name="digits_vit_w16_distilled")}
    given = {"data": data, "recipe": recipe, "methods": {}, "assistants": between, "tasks": tasks, "models": models}
    return digits.model_copy(update=given)


def random_images(test_seed: int = 0, train_seed: int = SEED) -> Dataset:
    """Random images and labels; each part depends on its seed alone."""
    train, test = torch.Generator().manual_seed(train_seed), torch.Generator().manual_seed(test_seed)
    return Dataset(
        torch.randint(256, (SAMPLES, 1, 8, 8), generator=train, dtype=torch.uint8),
        torch.randint(10, (SAMPLES,), generator=train),
        torch.randint(256, (BATCH, 1, 8, 8), generator=test, dtype=torch.uint8),
        torch.randint(10, (BATCH,), generator=test),
    )


class Bench:
    """Trainings of one method, as the trainer of a cell would set them up.

    Attributes:
        cls: the method.
        teacher: the network above the last training that was made; None for a method without one.
    """

    teacher: nn.Module | None = None

    def __init__(self, cls: type[Method]) -> None:
        self.cls = cls
        set_up_device(CPU)

    def trainer(
        self,
        kind: str = "one family",
        test_seed: int = 0,
        train_seed: int = SEED,
        precision: str = "float32",
        params: Mapping[str, Any] = {},
        device: torch.device = CPU,
        epochs: int | None = None,
    ) -> Trainer:
        """A training before its first step.

        Args:
            epochs: of the recipe, none of which is left out; the bench has few, and runs two of a stage.
            device: the CPU, or the GPU of a simulation that is on.

        Raises:
            NotApplicable: the method serves none of the pairs of this kind.
        """
        for teacher, student in PAIRS[kind]:
            try:
                dataset = random_images(test_seed, train_seed)
                return self.prepare(Pair(teacher=teacher, student=student), dataset, precision, params, device, epochs)
            except NotApplicable:
                if (teacher, student) == PAIRS[kind][-1]:
                    raise
        raise AssertionError(kind)

    def trainers(self, *kinds: str, device: torch.device = CPU) -> Iterator[Trainer]:
        """A training of one family, and those of other kinds unless the method declines them.

        Args:
            kinds: all, unless they are named.
        """
        yield self.trainer(device=device)
        for kind in kinds or list(PAIRS)[1:]:
            try:
                yield self.trainer(kind, device=device)
            except NotApplicable as reason:
                fail_if(not str(reason), "NotApplicable is raised without a reason: say what the pair lacks.")

    def prepare(
        self,
        pair: Pair,
        dataset: Dataset,
        precision: str,
        params: Mapping[str, Any],
        device: torch.device,
        epochs: int | None = None,
    ) -> Trainer:
        suite = small_suite(TASKS in self.cls.requires)
        recipe = suite.recipe.model_copy(update={"precision": precision, **({"epochs": epochs} if epochs else {})})
        suite = suite.model_copy(update={"recipe": recipe})
        values = self.values(params)
        cell = assemble(suite, self.cls, pair, SEED, values, {}, source="")
        teachers = untrained_teachers(suite, self.cls, pair)
        trainer, _ = prepare(cell, dataset, teachers, device, cls=self.cls)
        trainer.watches = False  # one check has every step watched, for all of them
        self.teacher = teachers[0] if teachers else None
        if epochs is None:
            trainer.replan(replace(stage, epochs=min(2 * stage.cycles, stage.epochs)) for stage in trainer.stages)
        trainer.student.train()
        trainer.method.train()
        return trainer

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of the method, defaults among them."""
        if problem := next(wrong_params(self.cls), None):
            raise CheckFailed(problem)
        return self.cls.Params.model_validate({**self.cls.checked_with, **params}).model_dump(mode="json")

    def train(self, trainer: Trainer) -> dict[str, list[float]]:
        """To the last epoch; returns the curves."""
        with tempfile.TemporaryDirectory() as folder:
            trainer.train(Path(folder) / "checkpoint.safetensors")
        return trainer.curve


def batches(trainer: Trainer) -> Iterator[Batch]:
    """The first epoch of each stage, the stage entered."""
    for stage in trainer.stages:
        trainer.begin(stage)
        feed = trainer.feed(0)
        for i in range(len(feed.step)):
            yield trainer.batch(feed, i)


Terms = dict[str, Tensor]
Around = Callable[[Callable[[], Any]], Any]


def evaluate(trainer: Trainer, batch: Batch, around: Around = lambda run: run()) -> tuple[Terms, Batch, list[Outputs]]:
    """The loss of a batch without an optimizer step, its gradients set.

    Args:
        around: runs what the method itself does: its inputs, its loss.

    Returns:
        the terms, the batch as the networks saw it, their outputs.
    """
    batch = around(lambda: trainer.method.inputs(batch))
    student, teacher = trainer.outputs(batch.images)
    terms = around(lambda: trainer.stage.loss(batch, student, teacher))
    check_terms(trainer.method.name, terms, [])
    return terms, batch, [student, teacher]


def backward(trainer: Trainer, terms: Terms) -> None:
    """Fresh gradients of the sum of the terms."""
    trainer.optimizer.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()


def output_tensors(outputs: Outputs) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a network's outputs, with its name for a message."""
    for name, values in outputs._values.items():
        for tensor in values if isinstance(values, list) else [values]:
            yield f"{outputs._role}.{name}", tensor


def fail_if(condition: bool, advice: str) -> None:
    if condition:
        raise CheckFailed(advice)


def state(trainer: Trainer) -> dict[str, Tensor]:
    """A copy of all that a training has changed."""
    return {name: value.clone() for name, value in trainer.tensors().items()}


def first_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """The name of a tensor that two states do not share bit by bit."""
    if one.keys() != other.keys():
        return min(one.keys() ^ other.keys())
    return next((name for name in one if not torch.equal(one[name], other[name])), None)
