"""Short trainings of a method on a pair of tiny networks: on the CPU, and on a simulated GPU, eager and captured."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.checks.bench import small_suite
from kdbench.checks.simulated import GPU, SimulatedGpu, simulated_gpu
from kdbench.console import Notice
from kdbench.data.small import Dataset
from kdbench.errors import NotApplicable
from kdbench.plugins import load_method
from kdbench.running.plan import assemble
from kdbench.running.prepare import prepare
from kdbench.running.timing import untrained_teachers
from kdbench.suite import Suite
from kdbench.tables import Execution, Pair
from kdbench.tasks import TASKS
from kdbench.training.capture import WARM_UP
from kdbench.training.trainer import Trainer

CPU = torch.device("cpu")
BATCH = 8
SAMPLES = (WARM_UP + 1) * BATCH + 3  # a replay, and a short batch, after the warm-up


class Dispatched(TorchDispatchMode):
    """Changes nothing, but has autograd add gradients as it does where Python sees each operation.

    Without one, PyTorch adds two gradients of a tensor in place, and the sum has the strides of the first. Under a
    dispatch mode, as the simulation is one, it adds them into a new tensor. For images of one channel, which count as
    contiguous and as channels last alike, the strides then differ, and batch norm's backward sums in another order. So
    it is for the generators of dfad and zskt, at whose images student and teacher both look: 2e-9 apart in a gradient,
    1e-4 (dfad) and 1e-3 (zskt) in a weight after two epochs of six steps.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def tiny_suite(samples: int = SAMPLES, has_tasks: bool = False) -> Suite:
    suite = small_suite(has_tasks)
    recipe = suite.recipe.model_copy(update={"batch_size": BATCH})
    return suite.model_copy(
        update={"recipe": recipe, "data": suite.data.model_copy(update={"train": samples, "test": BATCH})}
    )


def random_images(samples: int = SAMPLES) -> Dataset:
    random = torch.Generator().manual_seed(7)
    images = [torch.randint(256, (n, 1, 8, 8), generator=random, dtype=torch.uint8) for n in (samples, BATCH)]
    labels = [torch.randint(10, (n,), generator=random) for n in (samples, BATCH)]
    return Dataset(images[0], labels[0], images[1], labels[1])


def make(method: str, pair: Pair, device: torch.device, execution: Execution, notice: Notice = pytest.fail) -> Trainer:
    """A training of two epochs a stage, or of two of each of its cycles."""
    torch.set_num_threads(1)
    cls = load_method(method)
    samples = 3 * SAMPLES + 1 if TASKS in cls.requires else SAMPLES  # each of two tasks has enough
    suite = tiny_suite(samples, TASKS in cls.requires)
    params = cls.Params.model_validate(cls.checked_with).model_dump(mode="json")
    cell = assemble(suite, cls, pair, 7, params, {}, source="")
    teachers = untrained_teachers(suite, cls, pair)
    trainer, _ = prepare(cell, random_images(samples), teachers, device, execution, notice)
    trainer.replan(replace(stage, epochs=min(2 * stage.cycles, stage.epochs)) for stage in trainer.stages)
    return trainer


def advance(trainer: Trainer, epochs: int) -> dict[str, Tensor]:
    """Train on for so many epochs; returns all that they changed."""
    for _ in range(epochs):
        trainer.next_epoch()
    generators_of_the_network = ("rng.cpu", "rng.cuda")  # no two devices have them in common
    found = trainer.tensors().items()
    return {name: value.cpu().clone() for name, value in found if name not in generators_of_the_network}


def outcome(trainer: Trainer) -> dict[str, Tensor]:
    """What every network says of the test images."""
    networks = trainer.method.networks(trainer.student, trainer.readers["student"])
    return {role: trainer.predict(network).cpu() for role, network in {"student": None, **networks}.items()}


def forbid_waits(trainer: Trainer, gpu: SimulatedGpu) -> None:
    """No step of the training may wait for the device."""
    trainer.watches = False  # to watch a step is to read its values
    run_steps = trainer.run_steps

    def run(*given: Any, **named: Any) -> Tensor:
        with gpu.waits_forbidden():
            return run_steps(*given, **named)

    trainer.run_steps = run  # type: ignore[method-assign]


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@contextmanager
def little_garbage() -> Iterator[None]:
    """A capture collects garbage, which would take long among all that tests have imported."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@little_garbage()
def assert_trains_alike(method: str, pair: Pair, folder: Path) -> None:
    """The same values, bit by bit, on the CPU and on the simulated GPU: captured to the last epoch, eager half the way.

    A method that is never captured is trained eagerly to the last one.
    """
    try:
        with Dispatched():
            reference = make(method, pair, CPU, "eager")
            half = (reference.epochs + 1) // 2
            begun, ended = advance(reference, half), advance(reference, reference.epochs - half)
            said = outcome(reference)
    except NotApplicable as reason:
        pytest.skip(str(reason))
    never = load_method(method).eager
    with simulated_gpu() as gpu:
        eager = make(method, pair, GPU, "eager")
        forbid_waits(eager, gpu)
        assert_equal(advance(eager, half), begun)
        trainer = eager if never else make(method, pair, GPU, "captured")
        if not never:
            forbid_waits(trainer, gpu)
            assert_equal(advance(trainer, half), begun)
            assert trainer.captured is not None
        trainer.save(folder / "checkpoint")
        trainer.restore(folder / "checkpoint")
        assert_equal(advance(trainer, trainer.epochs - half), ended)
        assert_equal(outcome(trainer), said)
