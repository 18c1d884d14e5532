"""The networks, the method and the trainer of a cell, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdbench.console import Notice
from kdbench.data.large import FileDataset, LargeImages, list_images
from kdbench.data.small import Dataset, load_data
from kdbench.data.stream import torch_seed
from kdbench.data.views import SmallImages
from kdbench.errors import NotApplicable, did_you_mean
from kdbench.method import GIVEN, Method, Outputs, Read, Setup, Shapes, not_given
from kdbench.networks.build import build_network
from kdbench.networks.outputs import FeatureMap, OutputReader, feature_maps, match_maps, paired_by
from kdbench.networks.own import OwnNetwork
from kdbench.networks.processor import without_broken_kernels
from kdbench.plugins import load_method
from kdbench.records.record import Match
from kdbench.running.plan import Cell
from kdbench.suite import Data, Execution
from kdbench.training.contract import check_state
from kdbench.training.trainer import Trainer, autocast

MAPPED = {"features", "pre_activations"}


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


def load_dataset(data: Data) -> Dataset | FileDataset:
    """A suite's images: decoded, or as files where they are large.

    Raises:
        KdbenchError: they cannot be had, or are others than the suite says.
    """
    return list_images(data) if data.is_large else load_data(data)


def load_teachers(cell: Cell) -> list[nn.Module]:
    """The teachers that a cell reads, the pair's own first.

    Raises:
        KdbenchError: a file changed since it was found.
    """
    return [teacher.load(cell.suite) for teacher in cell.teachers]


def prepare(
    cell: Cell,
    dataset: Dataset | FileDataset,
    teachers: Sequence[nn.Module],
    device: torch.device,
    execution: Execution = "eager",
    notice: Notice = print,
    cls: type[Method] | None = None,
) -> tuple[Trainer, list[Match]]:
    """Networks, method and optimizer of a cell.

    Args:
        teachers: in evaluation mode, without gradients to their weights; the pair's own first, none for a method that
            reads none.
        cls: the method, where it is not the registered one of the cell's name.

    Raises:
        NotApplicable: the method cannot serve the pair.
    """
    suite, recipe = cell.suite, cell.recipe
    cls = cls or load_method(cell.method)
    example = torch.zeros(1, suite.data.channels, *suite.data.image_size)
    pretrained = cell.kind == "teacher" and suite.teachers == "pretrained"
    student = build_network(suite, cell.student, torch_seed(cell.stream, cell.seed, "student"), pretrained)
    teacher: Any = teachers[0] if teachers else None
    maps, by = paired_maps(cell, cls, student, teacher, example)
    wanted = {role: outputs_of(cls, role) for role in ("student", "teacher")}
    readers = {"student": OutputReader("student", student, wanted["student"], [s for s, _ in maps])}
    if teacher is not None and wanted["teacher"]:
        readers["teacher"] = OutputReader("teacher", teacher, wanted["teacher"], [t for _, t in maps])
    team = {
        f"teacher {n}": OutputReader("teacher", other, (wanted["teacher"] | {"logits"}) - MAPPED)
        for n, other in enumerate(teachers[1:], start=2)
    }
    images: SmallImages | LargeImages = (
        SmallImages(cell.data, dataset, device)
        if isinstance(dataset, Dataset)
        else LargeImages(cell.data, dataset, recipe.batch_size, device)
    )
    if "images" in cls.requires and isinstance(images, LargeImages):
        raise NotApplicable("it asks for further images within a step, and large ones are read from files")
    precision = partial(autocast, device, recipe.precision)

    def for_method(reader: OutputReader, gradients: bool = True) -> Read:
        def read(images: Tensor) -> Outputs:
            with precision(), torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
                return reader(images)

        return read

    def network(role: str) -> OwnNetwork:
        models = {"student": cell.student} | {name: name for name in cell.assistants}
        if teacher is not None and "teacher.network" in cls.requires:
            models["teacher"] = teacher.suite_model
        if role not in models:
            raise ValueError(
                f"there is no architecture '{role}' for a network.{did_you_mean(role, models)} "
                "`requires` must name 'teacher.network' for the teacher's, 'assistants' for those in between."
            )
        model = build_network(suite, models[role], int(torch.randint(2**62, ())))
        chosen = {"student": [s for s, _ in maps], "teacher": [t for _, t in maps]}.get(role, [])
        return OwnNetwork(model, OutputReader(role, model, wanted.get(role, set()) | {"logits"}, chosen), precision)

    generator = torch.Generator(device).manual_seed(torch_seed(cell.stream, cell.seed, "method"))
    labels = dataset.train_labels.to(device)
    setup = Setup(
        student=readers["student"].shapes(example),
        teacher=readers["teacher"].shapes(example) if "teacher" in readers else Shapes("teacher"),
        train_labels=labels[:0] if cls.is_data_free() else labels,
        num_classes=suite.data.num_classes,
        mean=suite.data.mean,
        std=suite.data.std,
        num_steps=recipe.epochs * -(-len(labels) // recipe.batch_size),
        device=device,
        generator=generator,
        batch_size=recipe.batch_size,
        image_shape=(suite.data.channels, *suite.data.image_size),
        epochs=recipe.epochs,
        network=network,
        read_student=for_method(readers["student"]),
        read_teacher=for_method(readers["teacher"]) if "teacher" in readers else not_given,
        student_network=student if "student.network" in cls.requires else None,
        teacher_network=teacher if "teacher.network" in cls.requires else None,
        team=tuple(for_method(reader, gradients=False) for reader in team.values()),
        team_networks=tuple(teachers[1:]) if "teacher.network" in cls.requires else (),
        assistants=cell.assistants,
        images=images.cut if "images" in cls.requires else not_given,
        num_views=cell.data.num_views,
    )
    method = build_method(cls, cell, setup)
    without_broken_kernels(method)
    for module in (student, *teachers, method):
        module.to(device).to(memory_format=torch.channels_last)
    trainer = Trainer(
        recipe=recipe,
        images=images,
        labels=labels,
        test_labels=dataset.test_labels.to(device),
        stream=cell.stream,
        seed=cell.seed,
        num_views=cell.data.num_views,
        student=student,
        method=method,
        readers=readers | team,
        generator=generator,
        device=device,
        execution=execution,
        notice=notice,
    )
    return trainer, [Match(student=str(s), teacher=str(t), by=by) for s, t in maps] if teachers else []


def outputs_of(cls: type[Method], role: str) -> set[str]:
    """Which outputs of a network the method reads."""
    return {output.split(".")[1] for output in cls.requires - GIVEN if output.startswith(f"{role}.")}


def paired_maps(
    cell: Cell, cls: type[Method], student: Any, teacher: Any, example: Tensor
) -> tuple[list[tuple[FeatureMap, FeatureMap]], Literal["stride", "depth"]]:
    """The feature maps of student and teacher that belong together, and by what; the student's own without others.

    Raises:
        NotApplicable: they cannot be paired.
    """
    if outputs_of(cls, "teacher") & MAPPED and teacher is not None:
        names = (f"student {cell.student}", f"teacher {cell.teacher.model}") if cell.teacher else ("student", "teacher")
        own, others = feature_maps(student, example), feature_maps(teacher, example)
        return match_maps(own, others, names), paired_by(own, others)
    if outputs_of(cls, "student") & MAPPED:
        return [(m, m) for m in feature_maps(student, example)], "stride"
    return [], "stride"


def build_method(cls: type[Method], cell: Cell, setup: Setup) -> Method:
    """The method with its own modules, made under its own seed whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(cell.stream, cell.seed, "method"))
        method = cls(cls.Params.model_validate(cell.params, strict=False))
        method.build(setup)
    check_state(method, setup.generator)
    return method
