"""What can be known of an epoch's last batch before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.errors import KdbenchError
from kdbench.networks.build import build_network
from kdbench.suite import Suite
from kdbench.tables import Recipe
from kdbench.teacher_names import architectures


def check_last_batches(suite: Suite, students: Iterable[str], teachers: Iterable[str]) -> None:
    """No network with batch norm sees a batch of one image, whose variance would be none.

    Args:
        teachers: those that are still to be trained.

    Raises:
        KdbenchError: one does; says how many images there are.
    """
    for name in sorted(students):
        check_student(suite, name, (suite.learned_from, suite.data.learned_from))
    for name in dict.fromkeys(architectures(teachers)):
        if not suite.loads(name):
            rows = suite.data.for_teachers.learned_from
            check_last_batch(suite, name, rows, suite.teacher_recipe(), "recipe.teacher")


def check_student(suite: Suite, name: str, numbers: Iterable[int]) -> None:
    """The same of one student, in stages of so many images each; with tasks only their labels tell how many."""
    for rows in dict.fromkeys(numbers):
        check_last_batch(suite, name, rows, suite.recipe_of(name), f"recipe.students.{name}")


def check_last_batch(suite: Suite, model: str, rows: int, recipe: Recipe, table: str) -> None:
    """The same of one network that learns from so many images."""
    size = recipe.batch_size
    if rows % size != 1 and size != 1:
        return
    if any(isinstance(module, _BatchNorm) for module in build_network(suite, model).modules()):
        raise KdbenchError(
            f"Suite '{suite.name}': of {rows} images in batches of {size} the last batch has one image, over which the "
            f"batch norm of '{model}' has no variance. Set another batch_size (recipe, or {table})."
        )
