"""Submitting and verifying the records of the small suite."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from kdbench.commands.submit import submit_methods
from kdbench.commands.verify import verify
from kdbench.records.store import Entry, finish_cell, read_runs


def submit(folder: Path, reason: str | None = None, pairs: Sequence[str] = ()) -> str:
    """What `kdbench submit kd` says."""
    said = io.StringIO()
    console = Console(file=said, width=200)
    submit_methods(
        ["kd"], str(folder / "small.toml"), folder / "runs", folder / "results", reason, console, None, pairs
    )
    return said.getvalue()


def verify_at(folder: Path, record: Path | str, level: int) -> tuple[int, str]:
    said = io.StringIO()
    console = Console(file=said, width=200)  # the suite's file lies beside runs/
    return verify(str(record), level, None, folder / "results", "cpu", console), said.getvalue()


def first_cell(folder: Path) -> Entry:
    return next(e for e in read_runs(folder / "runs", "small", "kd") if isinstance(e, Entry))


def rewrite(entry: Entry, **changes: Any) -> None:
    """Another record in the place of a cell's."""
    shutil.rmtree(entry.folder)
    finish_cell(entry.folder, entry.record.model_copy(update=changes).sealed(), entry.evidence)
