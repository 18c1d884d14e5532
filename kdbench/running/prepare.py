"""The trainer of a cell, before the first step."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn

from kdbench.console import Notice
from kdbench.data.contract import LabelledData
from kdbench.data.stream import torch_seed
from kdbench.data.strong import StrongViews
from kdbench.method import Method
from kdbench.networks.build import build_network
from kdbench.networks.inputs import seen_size
from kdbench.networks.processor import without_broken_kernels
from kdbench.plugins import load_method
from kdbench.records.parts import Match
from kdbench.running.last_batch import check_student
from kdbench.running.method_setup import build_method, make_setup
from kdbench.running.plan import Cell
from kdbench.running.readers import build_networks
from kdbench.running.stored import stored_outputs
from kdbench.tables import Execution
from kdbench.training.guard import Guard
from kdbench.training.task_trainer import TaskTrainer
from kdbench.training.trainer import Trainer


def set_up_device(device: torch.device) -> None:
    """What a training wants of PyTorch: its switches and its current device."""
    if device.type == "cpu":
        torch.set_num_threads(1)  # so that a result does not depend on the machine's cores or on other cells
        return
    if device.index is not None:
        torch.cuda.set_device(device)  # streams and graphs are those of the current one
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # the switches have newer names
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32
    torch.backends.cudnn.benchmark = True


def load_teachers(cell: Cell) -> list[nn.Module]:
    """The teachers that a cell reads, the pair's own first.

    Raises:
        KdbenchError: a file changed since it was found.
    """
    return [teacher.load(cell.suite) for teacher in cell.teachers]


def prepare(
    cell: Cell,
    dataset: LabelledData,
    teachers: Sequence[nn.Module],
    device: torch.device,
    execution: Execution = "eager",
    notice: Notice = print,
    cls: type[Method] | None = None,
    stored: bool = False,
) -> tuple[Trainer, list[Match]]:
    """Networks, method and optimizer of a cell.

    Args:
        teachers: in evaluation mode, without gradients to their weights; the pair's own first, none for a method that
            reads none.
        cls: the method, where it is not the registered one of the cell's name.
        stored: a teacher's outputs may come from a store.

    Raises:
        NotApplicable: the method cannot serve the pair.
        KdbenchError: a task's last batch has one image, of which batch norm has no variance.
    """
    cls = cls or load_method(cell.method)
    networks = build_networks(cell, cls, teachers)
    inputs = dataset.inputs(cell.data, cell.recipe.batch_size, device)
    generator = torch.Generator(device).manual_seed(torch_seed(cell.stream, cell.seed, "method"))
    labels = dataset.train_labels.to(device)
    guard = Guard(cls.name, networks.student)
    setup = make_setup(cell, cls, networks, inputs, labels.clone(), generator, device)
    method = build_method(cls, cell, setup, networks.student)
    guard.after_build("student.network" in cls.requires)
    without_broken_kernels(method, max(seen_size(network, cell.data) for network in (networks.student, *teachers)))
    for module in (networks.student, *teachers, method):
        module.to(device).to(memory_format=torch.channels_last)
    teacher = networks.readers.get("teacher") if stored else None
    kind: Callable[..., Trainer] = Trainer
    if cell.suite.tasks:
        kind = functools.partial(TaskTrainer, tasks=cell.suite.tasks)
    trainer = kind(
        recipe=cell.recipe,
        images=inputs,
        labels=labels,
        test_labels=dataset.test_labels.to(device),
        stream=cell.stream,
        seed=cell.seed,
        num_views=cell.data.num_views,
        student=networks.student,
        twin=None if cell.is_teacher else functools.cache(functools.partial(twin, cell, device)),
        guard=guard,
        method=method,
        readers=networks.readers | networks.team,
        generator=generator,
        device=device,
        execution=execution,
        notice=notice,
        stored=stored_outputs(cell, cls, teacher, inputs, device, notice) if teacher else None,
        strong=StrongViews(cell.data, inputs.cut, device) if "strong_images" in cls.requires else None,
    )
    if isinstance(trainer, TaskTrainer):
        check_student(cell.suite, cell.student, map(len, trainer.rows))
    return trainer, networks.matching()


def twin(cell: Cell, device: torch.device) -> nn.Module:
    """The suite's student once more, for evaluation."""
    network = build_network(cell.suite, cell.student, seed=0).eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)
