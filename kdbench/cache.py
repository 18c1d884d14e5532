"""Where kdbench keeps what it can make again: trained teachers, decoded data."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`KDBENCH_CACHE`, else the user's cache folder."""
    return Path(os.environ.get("KDBENCH_CACHE") or platformdirs.user_cache_dir("kdbench"))
