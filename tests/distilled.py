"""A small suite of distilled data, and the cells of two methods on it, trained once for all tests that read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from kdbench.cache import cache_folder
from kdbench.records.built_in import built_in
from kdbench.records.rows import FAMILY
from kdbench.records.store import Entry
from kdbench.running.cell import run_cell
from kdbench.running.plan import Cell, plan_cells, plan_teacher
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import SUITES, load_suite

NAME = "small-distilled"
TEACHING = sorted(name for name, about in built_in().items() if FAMILY not in about.families)  # all other methods
CPU = torch.device("cpu")
METHODS = ("random_images", "dm", "vanilla")


@dataclass(frozen=True)
class Ran:
    """What was trained.

    Attributes:
        file: of the suite.
        runs: the folder of the records.
        entries: by method, student and seed.
    """

    file: Path
    suite: Suite
    teacher: Teacher
    runs: Path
    cells: list[Cell]
    entries: dict[tuple[str, str, int], Entry]


def suite_file(folder: Path) -> Path:
    """Two images a class, two students, two seeds, one epoch."""
    text = (SUITES / "digits-distilled.toml").read_text()
    for old, new in (
        ('name = "digits-distilled"', f'name = "{NAME}"'),
        ("seeds = 3", "seeds = 2"),
        ("images_per_class = 10", "images_per_class = 2"),
        ('    "convnet:resnet8_w8",\n', ""),
        ('resnet8_w8 = { name = "digits_resnet8_w8" }\n', ""),
        ("epochs = 50", "epochs = 1"),
        ("epochs = 30", "epochs = 1"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"{NAME}.toml"
    path.write_text(text[: text.index("[methods.")] if "[methods." in text else text)
    with path.open("a") as file:
        file.write("\n[methods.dm]\nparams = { iterations = 2 }\n")
    return path


def train(folder: Path) -> Ran:
    """Train the methods on all pairs and seeds of the suite, in this process."""
    file, runs = suite_file(folder), folder / "runs"
    suite = load_suite(str(file))
    run_cell(plan_teacher(suite, "convnet"), cache_folder(), CPU, silent, silent)
    teacher = find_teacher(suite, "convnet", None, silent)
    assert teacher is not None
    methods: dict[str, dict[str, object]] = {name: {} for name in METHODS}
    cells = plan_cells(suite, methods, suite.pairs, range(suite.seeds), {"convnet": teacher})
    entries = {}
    for cell in cells:
        if cell.method == "vanilla" and cell.seed:
            continue  # one of each student will do
        done = run_cell(cell, runs, CPU, silent, silent)
        assert done is not None
        entries[cell.method, cell.student, cell.seed] = done[0]
    return Ran(file, suite, teacher, runs, cells, entries)


def silent(*_: object) -> None:
    """Nobody is told."""
