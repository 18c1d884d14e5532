"""The seam for engines: whatever runs cells somewhere, and says what happens.

An engine is one function, `(cells, root, machine) -> events`, in a file of its own here. It has each cell trained by
`work.run_reporting`, in whatever process or on whatever computer it likes, and yields the events as they come, ending
each cell with Finished, Failed or Stopped. It begins none where `machine.limit` leaves no time for an epoch: those
that are left end without an event. A cell whose step cannot be captured (CaptureFailed) it runs again, eagerly and in a
fresh process. What a cell is, and what becomes of its record, is not known to it.

To add one, write its file and name it in `ENGINES`. Nothing that it needs is imported before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kdbench.errors import KdbenchError, did_you_mean

if TYPE_CHECKING:
    from kdbench.running.engines.events import Event, Machine
    from kdbench.running.plan import Cell

ENGINES = {  # name: module:function
    "local": "kdbench.running.engines.local:execute",
    "ray": "kdbench.running.engines.on_ray:execute",
    "slurm": "kdbench.running.engines.on_slurm:execute",
}
PACKAGES = {"ray": "ray", "slurm": "submitit"}  # what an engine needs, from the extra of its name


class Engine(Protocol):
    """Runs cells, their records below `root`, and yields what happens.

    Closing the generator ends the trainings at once; what they were at resumes from its last checkpoint.

    Raises:
        KdbenchError: a folder that cannot be written, a full disk: no further cell could succeed.
    """

    def __call__(self, cells: Sequence[Cell], root: Path, machine: Machine, /) -> Generator[Event, None, None]: ...


def check_engine(name: str) -> None:
    """Whether there is such an engine, with the package that it needs; nothing is imported.

    Raises:
        KdbenchError: there is not.
    """
    if name not in ENGINES:
        raise KdbenchError(f"Unknown engine '{name}' (--engine).{did_you_mean(name, ENGINES)}")
    needed = PACKAGES.get(name)
    if needed is not None and importlib.util.find_spec(needed) is None:
        raise KdbenchError(f"--engine {name} needs the package {needed}. Install it: pip install 'kdbench[{name}]'")


def load_engine(name: str) -> Engine:
    """The engine of a name, imported now.

    Raises:
        KdbenchError: there is none, or it lacks its package.
    """
    check_engine(name)
    module, _, function = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), function)
    return engine
