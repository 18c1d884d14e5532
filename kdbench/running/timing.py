"""What a training step takes: timed on made-up images, with networks of random weights, after a warm-up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from kdbench.console import Notice
from kdbench.data.small import Dataset
from kdbench.method import Method
from kdbench.networks.build import build_network
from kdbench.plugins import load_method
from kdbench.running.distilling import Distilling, learner
from kdbench.running.plan import assemble
from kdbench.running.prepare import prepare, set_up_device
from kdbench.suite import Suite
from kdbench.tables import Data, Execution, Pair
from kdbench.training.capture import CaptureFailed
from kdbench.training.prediction import predict
from kdbench.training.trainer import Trainer

Measured = TypeVar("Measured")
LARGE_ROWS = 1024  # of images that are too many to be held


def random_dataset(data: Data) -> Dataset:
    """Black images in the suite's numbers (a thousand of large ones) and sizes, with random labels."""
    shape, generator = (data.channels, *data.image_size), torch.Generator().manual_seed(0)
    sizes = [min(n, LARGE_ROWS) if data.is_large else n for n in (data.learned_from, data.test)]
    labels = [torch.randint(data.num_classes, (n,), generator=generator) for n in sizes]
    images = [torch.zeros(n, *shape, dtype=torch.uint8) for n in sizes]
    return Dataset(images[0], labels[0], images[1], labels[1])


@dataclass(frozen=True)
class Subject:
    """What is timed: a method on a pair of a suite.

    Attributes:
        params: resolved.
        dataset: images of the suite's sizes.
    """

    suite: Suite
    pair: Pair
    method: str
    params: Mapping[str, Any]
    dataset: Dataset
    device: torch.device
    execution: Execution = "eager"


def timed_trainer(subject: Subject, notice: Notice = print) -> Trainer:
    """A training that is ready for its first step, under a live teacher where the method reads one.

    Raises:
        NotApplicable: the method cannot serve the pair.
    """
    suite, pair = subject.suite, subject.pair
    set_up_device(subject.device)
    execution = subject.execution
    if suite.data.is_large:  # crops and flips on the device cost next to nothing
        execution = "eager" if execution == "captured" else execution
        suite = suite.model_copy(update={"data": suite.data.model_copy(update={"source": "random"})})
    cls = load_method(subject.method)
    cell = assemble(suite, cls, pair, 0, subject.params, {}, source="")
    if cls.distils_data():
        blank = torch.zeros(suite.learned_from, *subject.dataset.train_images.shape[1:], dtype=torch.uint8)
        trainer = learner(cell, subject.dataset, blank, subject.device, execution, notice)
    else:
        teachers = untrained_teachers(suite, cls, pair)
        trainer, _ = prepare(cell, subject.dataset, teachers, subject.device, execution, notice)
    trainer.captures = trainer.captures and not suite.data.is_large  # nor are steps on real images
    trainer.begin(trainer.stages[-1])
    return trainer


def timed_distilling(subject: Subject) -> Distilling | None:
    """A method ready for the first of its iterations; None where it has none, or teaches a student."""
    cls = load_method(subject.method)
    if not cls.distils_data():
        return None
    set_up_device(subject.device)
    cell = assemble(subject.suite, cls, subject.pair, 0, subject.params, {}, source="")
    teachers = untrained_teachers(subject.suite, cls, subject.pair)
    work = Distilling(cell, subject.dataset, teachers, subject.device)
    return work if work.iterations else None


def time_distilling(subject: Subject) -> float:
    """Seconds in which a method distils data, from one of its iterations after a warm-up; 0 for one that teaches."""
    work = timed_distilling(subject)
    if work is None:
        return 0.0
    work.improve()
    wait_for(subject.device)
    start = time.perf_counter()
    work.improve()
    wait_for(subject.device)
    return work.iterations * (time.perf_counter() - start)


def eagerly_if_need_be(subject: Subject, measure: Callable[[Subject], Measured], notice: Notice) -> Measured:
    """What is measured of a subject; eagerly, and said so, where its step cannot be captured."""
    try:
        return measure(subject)
    except CaptureFailed as error:
        notice(str(error))
    return measure(replace(subject, execution="eager"))


def untrained_teachers(suite: Suite, cls: type[Method], pair: Pair) -> list[nn.Module]:
    """Teachers with random weights, all that the method reads."""
    names = suite.read_by(cls.requires, pair)
    return [build_network(suite, name, seed=0).eval().requires_grad_(False) for name in names]


def time_steps(trainer: Trainer, steps: int) -> float:
    """Mean seconds of a step, over `steps` full batches or as many as an epoch has."""
    steps = min(steps, trainer.samples // trainer.recipe.batch_size)
    feed = trainer.feed(0).head(steps)
    wait_for(trainer.device)
    start = time.perf_counter()
    trainer.run_steps(feed)
    wait_for(trainer.device)
    return (time.perf_counter() - start) / steps


def time_between(trainer: Trainer) -> float:
    """Seconds of what the method does before an epoch of its main stage."""
    wait_for(trainer.device)
    start = time.perf_counter()
    trainer.begin_epoch(1)
    wait_for(trainer.device)
    return time.perf_counter() - start


def time_prediction(trainer: Trainer) -> float:
    """Seconds of a prediction for the test set, from one batch of it."""
    images = next(trainer.images.test())[: trainer.recipe.batch_size]
    wait_for(trainer.device)
    start = time.perf_counter()
    predict(trainer.ranked(), [images], trainer.device, trainer.recipe.precision)
    wait_for(trainer.device)
    seconds = (time.perf_counter() - start) * len(trainer.test_labels) / len(images)
    trainer.student.train()
    return seconds


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
