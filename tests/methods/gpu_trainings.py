"""Short trainings of a method on a pair of tiny networks: on the CPU, and on a simulated GPU, eager and captured."""

from __future__ import annotations

import gc
from collections.abc import Mapping
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


def tiny_suite() -> Suite:
    suite = small_suite()
    recipe = suite.recipe.model_copy(update={"batch_size": BATCH})
    return suite.model_copy(
        update={"recipe": recipe, "data": suite.data.model_copy(update={"train": SAMPLES, "test": BATCH})}
    )


def random_images() -> Dataset:
    random = torch.Generator().manual_seed(7)
    images = [torch.randint(256, (n, 1, 8, 8), generator=random, dtype=torch.uint8) for n in (SAMPLES, BATCH)]
    labels = [torch.randint(10, (n,), generator=random) for n in (SAMPLES, BATCH)]
    return Dataset(images[0], labels[0], images[1], labels[1])


def make(method: str, pair: Pair, device: torch.device, execution: Execution, notice: Notice = pytest.fail) -> Trainer:
    """A training of two epochs a stage, or of two of each of its cycles."""
    torch.set_num_threads(1)
    suite, cls = tiny_suite(), load_method(method)
    params = cls.Params.model_validate(cls.checked_with).model_dump(mode="json")
    cell = assemble(suite, cls, pair, 7, params, {}, source="")
    teachers = untrained_teachers(suite, cls, pair)
    trainer, _ = prepare(cell, random_images(), teachers, device, execution, notice)
    trainer.replan(replace(stage, epochs=min(2 * stage.cycles, stage.epochs)) for stage in trainer.stages)
    return trainer


def train(trainer: Trainer, folder: Path) -> dict[str, Tensor]:
    """To the last epoch, and once more from its checkpoint; returns all that it changed, and its predictions."""
    path = folder / "checkpoint.safetensors"
    trainer.train(path)
    trainer.save(path)
    trainer.restore(path)
    networks = trainer.method.networks(trainer.student, trainer.readers["student"])
    found = trainer.tensors() | {f"logits.{role}": trainer.predict(network) for role, network in networks.items()}
    found["logits"] = trainer.predict()
    return {name: value.cpu().clone() for name, value in found.items() if name not in ("rng.cpu", "rng.cuda")}


def forbid_waits(trainer: Trainer, gpu: SimulatedGpu) -> None:
    """No step of the training may wait for the device."""
    run_steps = trainer.run_steps

    def run(*given: Any, **named: Any) -> Tensor:
        with gpu.waits_forbidden():
            return run_steps(*given, **named)

    trainer.run_steps = run  # type: ignore[method-assign]


def assert_trains_alike(method: str, pair: Pair, folder: Path) -> None:
    """The same values, bit by bit, on the CPU and on the simulated GPU, eager and captured."""
    gc.freeze()  # a capture collects garbage, which takes long among all that tests have imported
    try:
        with Dispatched():
            expected = train(make(method, pair, CPU, "eager"), folder)
    except NotApplicable as reason:
        pytest.skip(str(reason))
    executions: Mapping[Execution, bool] = {"eager": True, "captured": not load_method(method).eager}
    for execution in (how for how, possible in executions.items() if possible):
        with simulated_gpu() as gpu:
            trainer = make(method, pair, GPU, execution)
            forbid_waits(trainer, gpu)
            found = train(trainer, folder)
            assert trainer.execution == execution
        assert found.keys() == expected.keys()
        assert [name for name in found if not torch.equal(found[name], expected[name])] == []
