"""What the tests of searches share: a space, and the records that a search left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdbench.records.store import Entry, read_runs

Tune = Callable[..., tuple[int, Any, str]]
SPACE = "kd_weight=log:0.1..10"


def records(runs: Path) -> list[Entry]:
    found = list(read_runs(runs))
    assert all(isinstance(entry, Entry) for entry in found)
    return [entry for entry in found if isinstance(entry, Entry)]
