"""Hashes of values, files and labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys.

    Raises:
        ValueError, TypeError: JSON has no such value (a date, a number that is not finite).
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(*paths: Path) -> str:
    """SHA-256 of files, one after the other."""
    found = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(2**20):
                found.update(part)
    return found.hexdigest()


def labels_sha256(labels: np.ndarray) -> str:
    """SHA-256 of labels as little-endian 16-bit integers."""
    return hashlib.sha256(labels.astype("<i2").tobytes()).hexdigest()
