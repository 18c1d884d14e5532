"""What a training leaves behind for its record: its networks, what it cost, what it changed of the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kdbench.method import Stage
from kdbench.networks.build import count_macs, count_parameters
from kdbench.records.evidence import Evidence
from kdbench.records.metrics import metrics
from kdbench.records.parts import Cost, Network, Passes
from kdbench.running.plan import Cell
from kdbench.running.teachers import half_precision_weights
from kdbench.training.guard import shapes_of
from kdbench.training.trainer import Trainer


def main_role(cell: Cell) -> str:
    """The role of the network that the record is about."""
    return "teacher" if cell.is_teacher else "student"


def trained_networks(cell: Cell, trainer: Trainer) -> tuple[dict[str, nn.Module], dict[str, Tensor]]:
    """The networks to evaluate, by role, the record's own first; and the weights to keep.

    Those of a teacher are rounded to half precision, in place.

    Raises:
        TypeError: the method calls another network as the record's own is called.
    """
    role = main_role(cell)
    if cell.is_teacher:
        return {role: trainer.student}, half_precision_weights(trainer.student)
    ranked = trainer.ranked()
    weights = {name: value.clone() for name, value in ranked.state_dict().items() if isinstance(value, Tensor)}
    with trainer.watching("networks"):
        others = trainer.method.networks(trainer.student, trainer.readers["student"])
    if role in others:
        raise TypeError(
            f"{cell.method}.networks calls a network '{role}', which is the ranked one: `deployed` gives it"
        )
    return {role: ranked, **trainer.earlier_networks(), **others}, weights


def set_apart(cell: Cell, trainer: Trainer, networks: Sequence[Network]) -> list[Network]:
    """Networks for the record, of which the ranked one says what sets it apart where it is not the suite's student."""
    first, *others = networks
    if trainer.twin is None or trainer.is_suites:
        return [*networks]
    twin, found = trainer.twin().cpu(), []
    example = torch.zeros(1, cell.suite.data.channels, *cell.suite.data.image_size)
    for what, own, plain in (
        ("parameters", first.parameters, count_parameters(twin)),
        ("multiply-accumulates", first.macs, count_macs(twin, example)),
    ):
        if own != plain:
            found.append(f"{own:,} {what}, where the student has {plain:,}")
    theirs, ours = shapes_of(trainer.deployed), trainer.guard.shapes
    more, less = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    found += [f"{len(more)} weights of its own, such as '{more[0]}'"] if more else []
    found += [f"{len(less)} weights of the student are missing, such as '{less[0]}'"] if less else []
    return [first.model_copy(update={"differs": found or ["weights of other shapes than the student's"]}), *others]


def describe(
    cell: Cell, networks: Mapping[str, nn.Module], evidence: Mapping[str, Evidence], labels: np.ndarray, sha256: str
) -> list[Network]:
    """The networks for the record, moved to the CPU; by role, the record's own first.

    One that says its `size_bytes` has packed weights, which nobody can count: it has the numbers of the first.

    Args:
        sha256: of the file of the record's own weights.
    """
    found: list[Network] = []
    example = torch.zeros(1, cell.suite.data.channels, *cell.suite.data.image_size)
    for role, network in networks.items():
        network.cpu()
        model, size = getattr(network, "suite_model", cell.student), getattr(network, "size_bytes", None)
        spec, is_main = cell.suite.models[model], role == main_role(cell)
        found.append(
            Network(
                role=role,
                model=model,
                timm_name=spec.name,
                arguments=spec.about,
                metrics=metrics(evidence[role], labels, cell.suite.data.num_classes),
                parameters=count_parameters(network) if size is None else found[0].parameters,
                macs=count_macs(network, example) if size is None else found[0].macs,
                sha256=sha256 if cell.is_teacher else None,
                size_bytes=size,
                origin=getattr(network, "weights_from", None),
                evidence_sha256=None if is_main else evidence[role].sha256(),
            )
        )
    return found


def cost_of(trainer: Trainer) -> Cost:
    """What the training took."""
    main, spent = trainer.stages[-1], trainer.spending
    return Cost(
        train_seconds=trainer.seconds,
        steps=trainer.steps_done,
        method_parameters=sum(p.numel() for p in own_parameters(trainer) if p.requires_grad),
        main_epochs=main.epochs if main.epochs != trainer.recipe.epochs else None,
        flops=round(spent.flops),
        passes={name: Passes(forward=round(f), backward=round(b)) for name, (f, b) in spent.passes.items()},
        synthetic_images=round(spent.images) if trainer.method.is_data_free() else None,
    )


def changed_stages(trainer: Trainer) -> list[str]:
    """What the method changes of the protocol, in words: by its stages, and what else the trainer saw."""
    main = trainer.stages[-1]
    found = [f"a stage '{s.name}' of {s.epochs} epochs before the others{own_schedule(s)}" for s in trainer.own_stages]
    if main.epochs != trainer.recipe.epochs:
        found.append(f"{main.epochs} epochs instead of the suite's {trainer.recipe.epochs}")
    if main.cycles > 1:
        found.append(f"the learning rate's schedule runs {main.cycles} times")
    if main.learning_rate is not None and main.learning_rate != trainer.recipe.learning_rate:
        found.append(f"a learning rate of {main.learning_rate:g} instead of {trainer.recipe.learning_rate:g}")
    return found + trainer.guard.declared


def own_parameters(trainer: Trainer) -> Iterator[nn.Parameter]:
    """The method's, without those of the student that it holds as well."""
    students = {id(parameter) for parameter in trainer.student.parameters()}
    return (parameter for parameter in trainer.method.parameters() if id(parameter) not in students)


def own_schedule(stage: Stage) -> str:
    """What an earlier stage has of its own."""
    rate = "" if stage.learning_rate is None else f", at a learning rate of {stage.learning_rate:g}"
    return rate + (f", in {stage.cycles} cycles" if stage.cycles > 1 else "")
