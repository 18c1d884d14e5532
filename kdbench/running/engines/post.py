"""Events on their way through a shared folder: a file of JSON lines a writer, read as it grows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from kdbench.running.engines.events import Event, Failed, Finished, Noticed, Progressed, Stopped
from kdbench.running.plan import Cell


@dataclass(frozen=True)
class Fatal:
    """No further cell could succeed."""

    message: str


Letter = Event | Fatal
LETTERS: dict[str, type[Any]] = {c.__name__: c for c in (Progressed, Finished, Failed, Stopped, Noticed, Fatal)}


class Writer:
    """Appends events to a file of its own, each on the disk before the next."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"events-{name}.jsonl"

    def __call__(self, event: Letter) -> None:
        line = json.dumps({"event": type(event).__name__, **contents(event)})
        with self.path.open("a", encoding="utf-8") as file:  # opened anew, so that other computers see it
            file.write(f"\n{line}\n")  # what a crash cut off before does not spoil this line
            file.flush()
            os.fsync(file.fileno())


def contents(event: Letter) -> dict[str, Any]:
    """An event's values, its cell by its key."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    cell = values.pop("cell", None)
    key = {"key": cell.key} if cell is not None else {}
    return key | {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


class Reader:
    """Reads what writers have added since it was asked last.

    Args:
        cells: by key; events of others are left out.
    """

    def __init__(self, folder: Path, cells: Mapping[str, Cell]) -> None:
        self.folder, self.cells = folder, cells
        self.read: dict[Path, int] = {}

    def new(self) -> Iterator[Letter]:
        for path in sorted(self.folder.glob("events-*.jsonl")):
            with path.open("rb") as file:
                file.seek(self.read.get(path, 0))
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self.read[path] = self.read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                if (event := self.parse(line)) is not None:
                    yield event

    def parse(self, line: bytes) -> Letter | None:
        """An event; None for what a crash cut off, and for cells that are not asked for."""
        try:
            values = json.loads(line)
            letter = LETTERS[values.pop("event")]
            if "key" in values:
                values["cell"] = self.cells[values.pop("key")]
            if "folder" in values:
                values["folder"] = Path(values["folder"])
            event: Letter = letter(**values)
            return event
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
