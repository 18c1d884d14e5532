"""How long a request would take on this machine, from a few timed steps of each kind of cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Timer
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from kdbench.console import line_printer
from kdbench.data.small import Dataset
from kdbench.environment import available_cores
from kdbench.errors import NotApplicable
from kdbench.plugins import load_method
from kdbench.running.engines.events import Machine
from kdbench.running.plan import Cell, resolve_params
from kdbench.running.teachers import BASELINE
from kdbench.running.timing import (
    Subject,
    eagerly_if_need_be,
    random_dataset,
    time_between,
    time_distilling,
    time_prediction,
    time_steps,
    timed_trainer,
)
from kdbench.suite import Suite
from kdbench.tables import Execution, Pair, Recipe, Recipes
from kdbench.teacher_names import architectures
from kdbench.training.capture import WARM_UP

TIMED = WARM_UP + 1  # steps: one that is captured among them
SLOW = 0.2  # seconds of a step
PATIENCE = 20.0  # seconds after which a kind of cell is named that is still being timed
Kind = tuple[str, Pair]


def count_kinds(todo: Sequence[Cell]) -> dict[Kind, int]:
    """How many cells are to be trained, by method and pair; a cell without a teacher under the first of its student."""
    counts: dict[Kind, int] = {}
    for cell in todo:
        teachers = (p.teacher for p in cell.suite.pairs if p.student == cell.student)
        pair = Pair(teacher=cell.teacher_name or next(teachers), student=cell.student)
        counts[cell.method, pair] = counts.get((cell.method, pair), 0) + 1
    return counts


def estimate_seconds(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[Kind, int],
    teachers: Sequence[str],
    machine: Machine,
    console: Console,
) -> float:
    """Seconds until all cells and missing teachers are trained, nothing else running on the machine."""
    device = torch.device(machine.devices[0])
    jobs = jobs_of(suite, methods, kinds, teachers, random_dataset(suite.data), device, machine.execution)
    quiet, taken = not console.is_terminal, []
    distilled: set[str] = set()
    for subject, images, count in track(jobs, "timing", console=console, transient=True, disable=quiet):
        with suppress(NotApplicable), named_if_slow(subject, console):  # what is not applicable takes no time
            step, beside, epochs = eagerly_if_need_be(subject, time_kind, lambda text: None)
            taken += [epochs * step * images / subject.suite.recipe.batch_size + beside] * count
            if subject.method not in distilled:  # once a seed, for all students
                distilled.add(subject.method)
                taken += [time_distilling(subject)] * count
    lanes = min(machine.workers, available_cores() if machine.devices == ["cpu"] else len(machine.devices))
    return max(sum(taken) / lanes, *taken, 0.0)


@contextmanager
def named_if_slow(subject: Subject, console: Console) -> Iterator[None]:
    """Say what is being timed if it takes long: what a method does before an epoch is timed whole."""
    said = f"Still timing {subject.method} on {subject.pair}, with all that it does before an epoch; Ctrl-C stops it."
    timer = Timer(PATIENCE, line_printer(console), [said])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def jobs_of(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[Kind, int],
    teachers: Sequence[str],
    dataset: Dataset,
    device: torch.device,
    execution: Execution = "eager",
) -> list[tuple[Subject, int, int]]:
    """What there is to train, first the teachers: a subject with its own recipe, images of an epoch, how many such."""
    trained = [name for name in teachers if not suite.loads(name)]  # others are loaded, and evaluated once
    alone = Counter(architectures(trained))
    data = suite.data
    jobs: list[tuple[Kind, Recipe, int, int]] = [
        ((BASELINE, Pair(teacher=model, student=model)), suite.teacher_recipe(), data.train, count)
        for model, count in alone.items()
    ]
    jobs += [
        (kind, suite.recipe_of(kind[1].student), images_of(suite, kind[0]), count) for kind, count in kinds.items()
    ]
    found = []
    for (name, pair), recipe, images, count in jobs:
        params, _ = resolve_params(load_method(name), suite, pair, methods.get(name, {}))
        alike = with_recipe(suite, recipe)
        found.append((Subject(alike, pair, name, params, dataset, device, execution), images, count))
    return found


def images_of(suite: Suite, method: str) -> int:
    """Images in an epoch of a student."""
    return suite.learned_from if suite.tasks or load_method(method).distils_data() else suite.data.learned_from


def with_recipe(suite: Suite, recipe: Recipe) -> Suite:
    """The suite with one recipe for all of its networks."""
    return suite.model_copy(update={"recipe": Recipes(**recipe.model_dump(include=set(Recipe.model_fields)))})


def time_kind(subject: Subject) -> tuple[float, float, int]:
    """Seconds of a step of the main stage and of all that is done between epochs, and epochs of all stages.

    On a CPU, large networks are timed on an eighth of a batch.

    Args:
        subject: its suite with one recipe for all networks.

    Raises:
        CaptureFailed: the step cannot be captured.
        NotApplicable: the method cannot serve the pair.
    """
    recipe = subject.suite.recipe
    whole = recipe.batch_size
    for batch in (max(2, whole // 8), whole) if subject.device.type == "cpu" else (whole,):
        suite = with_recipe(subject.suite, recipe.model_copy(update={"batch_size": batch}))
        trainer = timed_trainer(replace(subject, suite=suite), notice=lambda text: None)
        warm_up = TIMED if trainer.captures else 1
        slow = time_steps(trainer, warm_up) > SLOW
        if slow:
            break
    step = time_steps(trainer, warm_up if slow else TIMED) * whole / batch
    beside = trainer.epochs * time_between(trainer) + trainer.evaluations * time_prediction(trainer)
    return step, beside, trainer.epochs


def duration(seconds: float) -> str:
    """In the units that a person would use."""
    if 0 < seconds < 1:
        return "less than a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 259200 else f"{seconds / 86400:.1f} days"
