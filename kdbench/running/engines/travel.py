"""What travels with cells to other computers, and what has to be equal there.

Records and checkpoints lie in a folder that all computers share. Teachers are put there by their content, data are
found by theirs: in the computer's cache, its own copy (`KDBENCH_DATA`) or on the hub.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import kdbench
from kdbench.environment import software
from kdbench.errors import KdbenchError, writing
from kdbench.hashing import digest, file_sha256
from kdbench.plugins import find_plugin, load_method
from kdbench.records.store import weights_name
from kdbench.running.plan import Cell
from kdbench.running.teachers import Teacher
from kdbench.source import source_sha256
from kdbench.tables import Execution

PREFIXES = ("KDBENCH_", "HF_")  # of the variables that travel
NAMES = frozenset({"TORCH_HOME", "TRANSFORMERS_OFFLINE", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"})
FOLDERS = ("KDBENCH_CACHE", "KDBENCH_DATA")
SHIPPED = ".teachers"  # in the folder of the records


@dataclass(frozen=True)
class Luggage:
    """What a computer is told before its first cell.

    Attributes:
        root: the shared folder of the records.
        environment: variables of the parent that matter.
        software: the parent's versions; `source` is the hash of its kdbench.
        methods: by name, the distribution, its version and the hash of the method's source.
        device: auto, cpu or cuda.
        stored: teachers' outputs may come from a store.
    """

    root: Path
    environment: Mapping[str, str]
    software: Mapping[str, str]
    source: str
    methods: Mapping[str, tuple[str, str, str]]
    device: str
    execution: Execution
    stored: bool


def pack(cells: Sequence[Cell], root: Path, device: str, execution: Execution, stored: bool) -> Luggage:
    """The luggage of cells; copies of their teachers are put beside the records.

    Raises:
        KdbenchError: the folder cannot be written, or a teacher's file is gone.
    """
    root = root.absolute()
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    for teacher in {t.sha256: t for cell in cells for t in cell.teachers}.values():
        ship(teacher, root)
    environment = {k: v for k, v in os.environ.items() if k.startswith(PREFIXES) or k in NAMES}
    environment |= {k: str(Path(environment[k]).expanduser().absolute()) for k in FOLDERS if environment.get(k)}
    methods = {name: described(name) for name in dict.fromkeys(cell.method for cell in cells)}
    return Luggage(root, environment, dict(software()), harness_sha256(), methods, device, execution, stored)


def ship(teacher: Teacher, root: Path) -> None:
    """Copy a teacher's weights to where every computer finds them."""
    place = shipped_path(teacher, root)
    with writing(root):
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_file() or place.stat().st_size != teacher.path.stat().st_size:
            new = place.with_name(f".{place.name}.{os.getpid()}")
            shutil.copyfile(teacher.path, new)
            new.replace(place)


def shipped_path(teacher: Teacher, root: Path) -> Path:
    return root / SHIPPED / weights_name(teacher.model, teacher.sha256)


def arrived(cell: Cell, root: Path) -> Cell:
    """The cell with its teachers as they were shipped; their hashes are checked when they are loaded."""
    moved = [replace(teacher, path=shipped_path(teacher, root)) for teacher in cell.teachers]
    return replace(cell, teacher=moved[0], team=tuple(moved[1:])) if moved else cell


def described(name: str) -> tuple[str, str, str]:
    """A method's distribution, its version and the hash of its source."""
    plugin = find_plugin(name)
    return plugin.distribution, plugin.version, source_sha256(load_method(name))


@functools.cache
def harness_sha256() -> str:
    """Hash of kdbench's own files, but for its methods."""
    root = Path(kdbench.__file__).parent
    return digest({str(path.relative_to(root)): file_sha256(path) for path in sorted(root.rglob("*.py"))})


def difference(luggage: Luggage, where: str) -> str:
    """Why this computer must not train the cells, in a line; empty where it may."""
    if not luggage.root.is_dir():
        return f"{where} does not see the folder {luggage.root}. Put it where all computers share it (--out)."
    if harness_sha256() != luggage.source:
        here, there = (
            f"{found['kdbench']} {found.get('commit', '')}".strip() for found in (software(), luggage.software)
        )
        return f"{where} has another kdbench ({here}) than the parent ({there}). Install the same everywhere."
    for name, (distribution, version, source) in luggage.methods.items():
        try:
            found = described(name)
        except KdbenchError:
            return f"{where} lacks the method '{name}': install {distribution} {version} there."
        if found[2] != source:
            return (
                f"{where} has another '{name}' ({found[0]} {found[1]}) than the parent ({distribution} {version}): "
                "install the same there."
            )
    return ""


def unlike(luggage: Luggage, where: str) -> str:
    """Versions of libraries that differ, which records say too; empty where none does."""
    mine = software()
    libraries = luggage.software.keys() - {"kdbench", "commit"}
    names = [name for name in sorted(libraries) if mine.get(name) != luggage.software[name]]
    said = ", ".join(f"{name} {mine.get(name)} (the parent: {luggage.software[name]})" for name in names)
    return f"{where} has {said}: its numbers may differ in their last digits." if said else ""
