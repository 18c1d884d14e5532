"""What the networks of `digits` say of its test images: made by docs/make_learning.py, read without torch."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

PARTS = 1000  # of one, in which the pages' scripts count logits
DATA = Path(__file__).parents[1] / "data"
FILE, CLASSES = DATA / "digits_logits.safetensors", DATA / "cifar100_classes.safetensors"


@dataclass(frozen=True)
class Taught:
    """The test images of a suite under its teachers, and under students of its first pair.

    Attributes:
        images: (I, H, W) uint8.
        labels: (I,).
        teachers: (I, C) logits by name; hashes: of their weights.
        students: (I, C) logits by the method that trained them, with seed 0.
        pair: teacher and student of these.
    """

    suite: str
    images: np.ndarray
    labels: np.ndarray
    teachers: dict[str, np.ndarray]
    hashes: dict[str, str]
    students: dict[str, np.ndarray]
    pair: tuple[str, str]

    @property
    def first(self) -> str:
        """The teacher of the first pair."""
        return self.pair[0]


@functools.cache
def taught() -> Taught:
    """The stored file."""
    with safe_open(FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    teacher, student = about["pair"].split(":")
    return Taught(
        suite=about["suite"],
        images=arrays["images"],
        labels=arrays["labels"].astype(int),
        teachers={name: rounded(arrays[f"teacher.{name}"]) for name in about["teachers"]},
        hashes=about["teachers"],
        students={
            name.partition(".")[2]: rounded(values)
            for name, values in sorted(arrays.items())
            if name.startswith("student.")
        },
        pair=(teacher, student),
    )


@dataclass(frozen=True)
class Classes:
    """What a teacher takes for alike.

    Attributes:
        names: of the C classes.
        table: (C, C) mean soft target of the test images of each class, at the temperature.
    """

    suite: str
    teacher: str
    sha256: str
    temperature: float
    names: list[str]
    table: np.ndarray


@functools.cache
def classes() -> Classes:
    """The stored file of a suite with many classes."""
    with safe_open(CLASSES, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
        return Classes(**about, table=file.get_tensor("table").astype(np.float64))


def rounded(logits: np.ndarray) -> np.ndarray:
    """As the pages' scripts have them, so that both say the same."""
    return np.rint(logits.astype(np.float64) * PARTS) / PARTS
