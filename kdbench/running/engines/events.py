"""What happens while cells are trained, and where: what every engine is given and yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.running.plan import Cell
from kdbench.tables import Execution
from kdbench.training.limit import TimeLimit


@dataclass(frozen=True)
class Progressed:
    """A cell's training began or went on (then `loss` is None), or an epoch ended; `loss` is its mean.

    Attributes:
        where: the computer, where an engine has several.
    """

    cell: Cell
    epochs_done: int
    epochs: int
    loss: float | None
    where: str = ""


@dataclass(frozen=True)
class Finished:
    """A cell's record is on disk; `here` unless another run made it meanwhile."""

    cell: Cell
    folder: Path
    here: bool


@dataclass(frozen=True)
class Waiting:
    """The cells that are left are being trained by another run."""

    cells: int


@dataclass(frozen=True)
class Failed:
    """A cell ended without a result; `details` is the traceback."""

    cell: Cell
    message: str
    details: str

    @property
    def diverged(self) -> bool:
        """Whether its loss did not stay finite, which it would not the next time either."""
        return self.message.startswith("Diverged:")


@dataclass(frozen=True)
class Stopped:
    """A cell has no time for another epoch; another run carries on from its checkpoint."""

    cell: Cell


@dataclass(frozen=True)
class Noticed:
    """Something that the user should know, in one line."""

    text: str


Event = Progressed | Finished | Waiting | Failed | Stopped | Noticed


@dataclass(frozen=True)
class Machine:
    """Where, how and until when cells are trained.

    Attributes:
        devices: of this machine; for an engine of several machines one of auto, cpu and cuda.
        workers: cells at a time, on all devices together; worker k of this machine is on device k modulo their number.
            0 for as many as the engine has room for.
        stored: teachers' outputs may come from a store.
        engine: which one trains them.
        options: of the engine, by name.
    """

    devices: Sequence[str]
    workers: int
    execution: Execution = "eager"
    limit: TimeLimit = field(default_factory=TimeLimit, compare=False, repr=False)
    stored: bool = False
    engine: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        how = "" if self.execution == "eager" else f", steps {self.execution}"
        where = "" if self.engine == "local" else f"{self.engine}, "
        each = " on each" if len(self.devices) > 1 else ""
        many = self.workers // len(self.devices) or "as many as there is room for"
        return f"{where}{', '.join(self.devices)}, {many} at a time{each}{how}"
