"""Names of teachers: "vit" is the first of its architecture, "vit@3" number 3 of the several that a suite may have."""

from __future__ import annotations

from collections.abc import Iterable


def teacher_name(model: str, number: int) -> str:
    """The name of a teacher by its architecture and its number, 0 being the first; its training has that seed."""
    return f"{model}@{number}" if number else model


def split_teacher(name: str) -> tuple[str, int]:
    """Architecture and number of a teacher."""
    model, _, number = name.partition("@")
    return model, int(number or 0)


def architectures(names: Iterable[str]) -> list[str]:
    """The architecture of each of several teachers."""
    return [split_teacher(name)[0] for name in names]
