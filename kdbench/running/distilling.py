"""Distilled data: the images that a method makes of the training set, before any student learns from them.

They depend on the method and the seed, not on who learns from them: they are made once and kept in the cache, where the
cells of all students find them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn

from kdbench.cache import cache_folder
from kdbench.console import Notice
from kdbench.data.contract import LabelledData
from kdbench.data.small import Dataset
from kdbench.data.stream import torch_seed
from kdbench.dataset_method import DatasetMethod
from kdbench.errors import KdbenchError, writing
from kdbench.files import set_aside
from kdbench.hashing import digest
from kdbench.plugins import load_method
from kdbench.running.method_setup import build_method, make_setup
from kdbench.running.plan import Cell
from kdbench.running.prepare import prepare
from kdbench.running.readers import build_networks
from kdbench.running.stored import hardware
from kdbench.running.synthetic import to_pixels
from kdbench.running.teachers import BASELINE
from kdbench.tables import Execution
from kdbench.training.checkpoint import load_tensors, save_tensors
from kdbench.training.limit import TimeLimit
from kdbench.training.rhythm import Rhythm
from kdbench.training.trainer import Diverged, OnEpoch, Trainer

REMEDY = "Set KDBENCH_CACHE to another folder"


@dataclass(frozen=True)
class Made:
    """A distilled training set.

    Attributes:
        pixels: (K, C, H, W) uint8, class after class.
        seconds: what making them took.
    """

    pixels: Tensor
    seconds: float


class Distilling:
    """A method at work on a training set, from its first iteration to its last.

    Args:
        cell: of any student.
        teachers: in evaluation mode, the pair's own first; none for a method that reads none.
        cls: the method, where it is not the registered one of the cell's name.
    """

    def __init__(
        self,
        cell: Cell,
        dataset: LabelledData,
        teachers: Sequence[nn.Module],
        device: torch.device,
        cls: type[DatasetMethod] | None = None,
    ) -> None:
        cls = cls or dataset_method(cell.method)
        maker = replace(cell, student=cell.teacher_name or cell.suite.pairs[0].teacher)
        networks = build_networks(maker, cls, teachers)
        inputs = dataset.inputs(cell.data, cell.recipe.batch_size, device)
        self.cell, self.device = cell, device
        self.generator = torch.Generator(device).manual_seed(torch_seed(cell.stream, cell.seed, "method"))
        for module in (networks.student, *teachers):
            module.to(device)
        labels = dataset.train_labels.to(device, copy=True)
        self.setup = make_setup(maker, cls, networks, inputs, labels, self.generator, device)
        method = build_method(cls, maker, self.setup, networks.student)
        assert isinstance(method, DatasetMethod)
        self.method = method.to(device).train()
        self.iterations = method.iterations()
        self.done, self.seconds = 0, 0.0

    def improve(self) -> float | None:
        """One iteration, with PyTorch's global generator seeded for it; returns its loss, if it has one."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(torch_seed(f"{self.cell.stream}/{self.done}", self.cell.seed, "method"))
            loss = self.method.improve(self.done)
        self.done += 1
        return None if loss is None else float(loss)

    def run(self, checkpoint: Path, on_epoch: OnEpoch = lambda *progress: None, limit: TimeLimit | None = None) -> Made:
        """All iterations that are not done yet.

        Raises:
            Diverged: a pixel is not finite.
            KdbenchError: the disk is full or the folder cannot be written.
            OutOfTime: the limit leaves no time for another iteration; `checkpoint` holds all that was done.
        """
        on_epoch(self.done, self.iterations, None)
        rhythm = Rhythm(lambda: self.save(checkpoint), limit or TimeLimit())
        while self.done < self.iterations:
            rhythm.begin()
            loss = self.improve()
            self.seconds += rhythm.elapsed()
            if loss is not None:
                on_epoch(self.done, self.iterations, loss)
            if self.done < self.iterations:
                rhythm.keep()
            rhythm.end()
        return Made(self.pixels(), self.seconds)

    def pixels(self) -> Tensor:
        """(K, C, H, W) uint8, what the method has made so far.

        Raises:
            Diverged: one is not finite.
            TypeError: they are of another number or shape.
        """
        suite, images = self.cell.suite, self.method.synthetic().detach()
        wanted = (suite.learned_from, suite.data.channels, *suite.data.image_size)
        if tuple(images.shape) != wanted:
            raise TypeError(f"{self.method.name}.synthetic gives images of shape {tuple(images.shape)}, not {wanted}")
        if not images.isfinite().all():
            raise Diverged("an image of the distilled data is not finite")
        return to_pixels(images, suite.data)

    def save(self, path: Path) -> None:
        """Write all that a bit-equal continuation needs.

        Raises:
            KdbenchError: the disk is full or the folder cannot be written.
        """
        with writing(path, REMEDY):
            save_tensors(path, self.tensors(), {"done": self.done, "seconds": self.seconds})

    def tensors(self) -> dict[str, Tensor]:
        """All state that changes, by name."""
        return {f"method.{k}": v for k, v in self.method.state_dict().items()} | {"rng": self.generator.get_state()}

    def restore(self, path: Path) -> None:
        """Go on where `save` left off.

        Raises:
            KdbenchError: the checkpoint is corrupt.
        """
        tensors, state = load_tensors(path)
        self.generator.set_state(tensors.pop("rng"))
        self.method.load_state_dict({name.removeprefix("method."): value for name, value in tensors.items()})
        self.done, self.seconds = state["done"], state["seconds"]


def dataset_method(name: str) -> type[DatasetMethod]:
    """A registered method that distils data."""
    cls = load_method(name)
    assert issubclass(cls, DatasetMethod)
    return cls


def distilled_data(
    cell: Cell,
    dataset: LabelledData,
    teachers: Callable[[], Sequence[nn.Module]],
    device: torch.device,
    on_epoch: OnEpoch,
    notice: Notice,
    limit: TimeLimit | None = None,
) -> Made:
    """The distilled data of a cell: from the cache, or made now, by one process for all that want them.

    Raises:
        KdbenchError: the cache cannot be written.
        Diverged, OutOfTime, TypeError: as `Distilling.run`.
    """
    path = place_of(cell, device)
    with writing(path, REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
    with lock:
        if path.exists():
            try:
                tensors, state = load_tensors(path)
                return Made(tensors["images"], state["seconds"])
            except KdbenchError as error:
                notice(f"{error} Set aside as {set_aside(path).name}; the images are made again.")
        checkpoint = path.with_suffix(".partial")
        work = Distilling(cell, dataset, teachers(), device)
        if checkpoint.exists():
            try:
                work.restore(checkpoint)
            except (KdbenchError, KeyError, RuntimeError) as error:
                notice(f"{checkpoint} cannot be used: {str(error).splitlines()[0]} The images are made from the start.")
                work = Distilling(cell, dataset, teachers(), device)
        made = work.run(checkpoint, on_epoch, limit)
        with writing(path, REMEDY):
            save_tensors(path, {"images": made.pixels}, {"seconds": made.seconds})
            checkpoint.unlink(missing_ok=True)
    return made


def place_of(cell: Cell, device: torch.device) -> Path:
    """Where the cache has the images of a cell: the same for all students."""
    about = {
        "protocol": cell.protocol,
        "maker": cell.suite.models[cell.teacher_name or cell.suite.pairs[0].teacher].identity,
        "method": [cell.method, cell.method_version, cell.source_sha256],
        "params": cell.params,
        "teachers": [teacher.sha256 for teacher in cell.teachers],
        "seed": cell.seed,
        **hardware(device),
    }
    return cache_folder() / "distilled" / f"{cell.method}-{digest(about)[:16]}.safetensors"


def forget(cell: Cell, device: torch.device) -> None:
    """Have the images of a cell made again, be they in the cache or not."""
    place_of(cell, device).unlink(missing_ok=True)


def learner(
    cell: Cell,
    dataset: LabelledData,
    pixels: Tensor,
    device: torch.device,
    execution: Execution = "eager",
    notice: Notice = print,
) -> Trainer:
    """The training of a cell's student on distilled images alone: by the plain method, under no teacher."""
    alone = replace(cell, method=BASELINE, params={}, teacher=None, team=(), awaits=(), assistants=())
    labels = torch.arange(cell.data.num_classes).repeat_interleave(len(pixels) // cell.data.num_classes)
    images = replace(small(dataset), train_images=pixels, train_labels=labels)
    return prepare(alone, images, [], device, execution, notice)[0]


def small(dataset: LabelledData) -> Dataset:
    """The data of a suite of distilled data, which are small images."""
    assert isinstance(dataset, Dataset)
    return dataset
