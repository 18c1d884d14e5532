"""What a method is given of its cell, and the method that is built with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from kdbench.data.contract import Inputs
from kdbench.data.stream import torch_seed
from kdbench.errors import did_you_mean
from kdbench.given import Outputs, Setup, Shapes, not_given
from kdbench.method import Method
from kdbench.networks.build import build_network
from kdbench.networks.outputs import OutputReader
from kdbench.networks.own import OwnNetwork
from kdbench.networks.statistics import still_statistics
from kdbench.running.plan import Cell
from kdbench.running.readers import Networks, outputs_of
from kdbench.tasks import EARLIER, TASKS, Tasks
from kdbench.training.contract import check_state
from kdbench.training.prediction import autocast
from kdbench.training.task_trainer import task_rows

P = ParamSpec("P")
M = TypeVar("M", bound=Method)


def make_setup(
    cell: Cell,
    cls: type[Method],
    networks: Networks,
    inputs: Inputs,
    labels: Tensor,
    generator: torch.Generator,
    device: torch.device,
) -> Setup:
    """All that the method may know: no more than it requires, and nothing of the test set.

    Args:
        labels: (N,) of the training set, on the device.
        generator: the method's own.
    """
    data, recipe, tasks = cell.suite.data, cell.recipe, cell.suite.tasks
    readers, gives_networks = networks.readers, "teacher.network" in cls.requires

    def reading(reader: Callable[P, Outputs], gradients: bool = True) -> Callable[P, Outputs]:
        return as_read(reader, recipe.precision, device, gradients)

    return Setup(
        student=readers["student"].shapes(networks.example),
        teacher=readers["teacher"].shapes(networks.example) if "teacher" in readers else Shapes("teacher"),
        train_labels=labels[:0] if cls.is_data_free() or tasks else labels,
        num_classes=data.num_classes,
        mean=data.mean,
        std=data.std,
        num_steps=recipe.epochs * -(-last_rows(labels, tasks, cls) // recipe.batch_size),
        device=device,
        generator=generator,
        batch_size=recipe.batch_size,
        image_shape=(data.channels, *data.image_size),
        epochs=recipe.epochs,
        network=partial(further_network, cell, cls, networks, device),
        read_student=reading(readers["student"]),
        read_teacher=reading(readers["teacher"]) if "teacher" in readers else not_given,
        student_from=reading(partial(from_map_still, readers["student"])),
        teacher_from=reading(readers["teacher"].from_map) if "teacher" in readers else not_given,
        student_network=networks.student if "student.network" in cls.requires else None,
        teacher_network=networks.teachers[0] if gives_networks and networks.teachers else None,
        team=tuple(reading(reader, gradients=False) for reader in networks.team.values()),
        team_networks=tuple(networks.teachers[1:]) if gives_networks else (),
        assistants=cell.assistants,
        images=inputs.cut if "images" in cls.requires and not tasks else not_given,
        num_views=cell.data.num_views,
        plain_view=cell.data.plain_view,
        images_per_class=cell.suite.distilled.images_per_class if cell.suite.distilled else 0,
        tasks=tasks.classes if tasks and TASKS in cls.requires else (),
    )


def last_rows(labels: Tensor, tasks: Tasks | None, cls: type[Method]) -> int:
    """Images in an epoch of the main stage: with tasks the last one's."""
    return len(task_rows(labels.cpu(), tasks, EARLIER in cls.requires)[-1]) if tasks else len(labels)


def from_map_still(reader: OutputReader, position: int, feature: Tensor) -> Outputs:
    """As `OutputReader.from_map`; a map that is not the network's own does not move its running statistics."""
    with still_statistics(reader.model):
        return reader.from_map(position, feature)


def as_read(
    reader: Callable[P, Outputs], precision: str, device: torch.device, gradients: bool = True
) -> Callable[P, Outputs]:
    """A reader for the method's own use: in the suite's precision, with gradients where they are wanted."""

    def read(*args: P.args, **kwargs: P.kwargs) -> Outputs:
        with autocast(device, precision), torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            return reader(*args, **kwargs)

    return read


def further_network(cell: Cell, cls: type[Method], networks: Networks, device: torch.device, role: str) -> OwnNetwork:
    """A network with fresh weights, of the architecture of a role.

    Raises:
        ValueError: the method may have none of this role.
    """
    models = {"student": cell.student} | {name: name for name in cell.assistants}
    if networks.teachers and "teacher.network" in cls.requires:
        models["teacher"] = networks.teachers[0].suite_model
    if role not in models:
        raise ValueError(
            f"there is no architecture '{role}' for a network.{did_you_mean(role, models)} "
            "`requires` must name 'teacher.network' for the teacher's, 'assistants' for those in between."
        )
    model = build_network(cell.suite, models[role], int(torch.randint(2**62, ())))
    wanted = outputs_of(cls, role) | {"logits"}
    reader = OutputReader(role, model, wanted, networks.maps_of(role), networks.stems.get(role, []))
    return OwnNetwork(model, reader, partial(autocast, device, cell.recipe.precision))


def build_method(cls: type[M], cell: Cell, setup: Setup, student: nn.Module) -> M:
    """The method with its own modules, made under its own seed whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(cell.stream, cell.seed, "method"))
        method = cls(cls.Params.model_validate(cell.params, strict=False))
        method.build(setup)
    check_state(method, setup.generator, student)
    return method
