"""Tasks: classes that reach a student one group after the other (lifelong, class-incremental learning). No torch.

A cell of a suite with tasks is one student that is trained on the images of the first classes, then on those of the
next, and so on. After each task it is evaluated on the whole test set; classes that have not come yet are shut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from kdbench.tables import Pair, Table

TASKS, EARLIER = "tasks", "earlier_images"  # what a method's `requires` may name of them
FINE_TUNING = "vanilla"  # of the methods that know of no tasks the one that is trained on them: the lower bound


class Tasks(Table):
    """The tasks of a suite.

    Attributes:
        classes: of each task, in the order in which they come; every class in one of them.
        memory: images a class that are kept once its task is over, and trained on again beside those of later tasks:
            its first ones in canonical order, the same for all methods.
    """

    classes: tuple[Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)], ...] = Field(min_length=2)
    memory: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _each_class_comes_once(self) -> Tasks:
        known = [c for task in self.classes for c in task]
        if sorted(known) != list(range(len(known))):
            raise ValueError("classes must name each class from 0 on in one task")
        return self

    @property
    def num_classes(self) -> int:
        """In all tasks together."""
        return sum(map(len, self.classes))

    def check(self, num_classes: int, pairs: Iterable[Pair], about_teachers: Mapping[str, object]) -> None:
        """They fit what else a suite says.

        Args:
            about_teachers: what it says of teachers, by the table's name.

        Raises:
            ValueError: they do not.
        """
        if self.num_classes != num_classes:
            raise ValueError(f"tasks.classes has {self.num_classes} classes, data {num_classes}")
        if other := next((pair for pair in pairs if pair.teacher != pair.student), None):
            raise ValueError(
                f"pair '{other}': with tasks a student is taught by itself as it was before. Write "
                f"'{other.student}:{other.student}'"
            )
        if without := next((name for name, given in about_teachers.items() if given), None):
            raise ValueError(f"{without} has no effect in a suite with tasks, which has no teachers. Remove it")

    def seen(self, task: int) -> list[int]:
        """The classes that have come by the end of a task, counted from 0."""
        return [c for classes in self.classes[: task + 1] for c in classes]


def task_stages(tasks: Tasks | None) -> list[str]:
    """Names of the stages of a training, a task each; the last is the main one, whose name is empty."""
    return [*(f"task {t + 1}" for t in range(len(tasks.classes) - 1)), ""] if tasks else []


def after_task(task: int) -> str:
    """The role of the network as it was after a task that is not the last, counted from 0."""
    return f"after task {task + 1}"
