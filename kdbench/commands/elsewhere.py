"""What a plan would take on a device that is not here: an estimate, from what a step computes and stated assumptions.

A step takes its floating-point operations at a part of the device's peak, or a while for each of PyTorch's operations,
whichever is longer: small networks wait for the latter. Both are counted here, on one step of each kind of cell.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError

from kdbench.commands.estimate import Kind, jobs_of
from kdbench.errors import KdbenchError, NotApplicable, did_you_mean, first_problem
from kdbench.networks.flops import FlopCounter
from kdbench.running.timing import Subject, random_dataset, timed_distilling, timed_trainer
from kdbench.suite import Suite
from kdbench.tables import Execution, Table
from kdbench.training.prediction import predict
from kdbench.training.trainer import Trainer

Positive = Annotated[float, Field(gt=0)]


class Device(Table):
    """A device and what is assumed of it.

    Attributes:
        teraflops: its peak by precision, "float32" and "bf16", in 1e12 dense operations a second.
        utilisation: the part of the peak that is reached.
        eager_us, captured_us: microseconds of one of PyTorch's operations, at least; in a CUDA graph. The defaults are
            what an H100 and its host took (docs/gpus.md).
    """

    title: str
    teraflops: dict[str, Positive]
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.3
    eager_us: Positive = 30.0
    captured_us: Positive = 4.0

    def assumptions(self, precision: str, execution: Execution) -> str:
        """What an estimate goes by, in words."""
        peak, share = self.teraflops[precision], 100 * self.utilisation
        return f"{share:.0f} % of {peak:g} TFLOPS ({precision}), {self.pause(execution):g} us an operation"

    def pause(self, execution: Execution) -> float:
        return self.eager_us if execution == "eager" else self.captured_us

    def seconds(self, flops: float, operations: float, precision: str, execution: Execution) -> float:
        """Of so much computation."""
        computing = flops / (self.utilisation * 1e12 * self.teraflops[precision])
        return max(computing, operations * self.pause(execution) / 1e6)


DEVICES = {  # dense peaks of the makers' data sheets, float32 without TF32
    "h100": Device(title="NVIDIA H100 SXM", teraflops={"float32": 67, "bf16": 989}),
    "a100": Device(title="NVIDIA A100", teraflops={"float32": 19.5, "bf16": 312}),
    "rtx4090": Device(title="NVIDIA RTX 4090", teraflops={"float32": 82.6, "bf16": 165.2}),
}


def load_device(name: str | None) -> Device | None:
    """A known device, or that of a TOML file; None if none is named.

    Raises:
        KdbenchError: no such device or file, or a file of another form.
    """
    if name is None:
        return None
    if not name.endswith(".toml"):
        if name not in DEVICES:
            raise KdbenchError(f"Unknown device '{name}' (--on); or name a .toml file.{did_you_mean(name, DEVICES)}")
        return DEVICES[name]
    try:
        return Device.model_validate(tomllib.loads(Path(name).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KdbenchError(f"Cannot read the device {name} (--on): {getattr(error, 'strerror', error)}.") from error
    except ValidationError as error:
        raise KdbenchError(f"{name} (--on): {first_problem(error)}.") from error


class OperationCounter(FlopCounter):
    """Counts PyTorch's operations too."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return super().__torch_dispatch__(func, types, args, kwargs)


def seconds_elsewhere(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[Kind, int],
    teachers: Sequence[str],
    device: Device,
    execution: Execution,
) -> float:
    """Seconds of all cells and missing teachers on one such device.

    Raises:
        KdbenchError: the device's peak is not given for the suite's precision.
    """
    if suite.recipe.precision not in device.teraflops:
        raise KdbenchError(f"{device.title} (--on): no peak for {suite.recipe.precision}. Add it to its teraflops.")
    taken, dataset = 0.0, random_dataset(suite.data)
    distilled: set[str] = set()
    for subject, images, count in jobs_of(suite, methods, kinds, teachers, dataset, torch.device("cpu")):
        with suppress(NotApplicable):  # such cells take no time
            trainer = timed_trainer(subject)
            alone = suite.data.is_large or trainer.never_captured()
            how: Execution = "eager" if alone else execution
            taken += count * training_seconds(trainer, images, device, how)
            if subject.method not in distilled:  # once a seed, for all students
                distilled.add(subject.method)
                taken += count * distilling_seconds(subject, device)
    return taken


def distilling_seconds(subject: Subject, device: Device) -> float:
    """Of making distilled data; 0 under a method that teaches a student."""
    work = timed_distilling(subject)
    if work is None:
        return 0.0
    with OperationCounter() as made:
        work.improve()
    precision = subject.suite.recipe.precision
    return work.iterations * device.seconds(made.flops, made.operations, precision, "eager")


def training_seconds(trainer: Trainer, images: int, device: Device, execution: Execution) -> float:
    """Of all epochs of a training and their tests, each epoch of so many images."""
    precision, test = trainer.recipe.precision, next(trainer.images.test())[: trainer.recipe.batch_size]
    with OperationCounter() as step:
        trainer.run_steps(trainer.feed(0).head(1))
    with OperationCounter() as prediction:
        predict(trainer.deployed, [test], trainer.device, precision)
    steps, tests = images / trainer.recipe.batch_size, len(trainer.test_labels) / len(test)
    epoch = steps * device.seconds(step.flops, step.operations, precision, execution)
    epoch += tests * device.seconds(prediction.flops, prediction.operations, precision, "eager")
    return trainer.epochs * epoch
