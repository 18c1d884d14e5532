"""A copy of the pictures, in a folder of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.data.small import load_data
from tests.kdbench.data.parquet_files import pictures, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data set, its train part in two files."""
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pixels, labels = pictures(12)
    place = tmp_path / "mine" / "pictures"
    write(place / "train-00000-of-00002.parquet", pixels[:7], labels[:7])
    write(place / "train-00001-of-00002.parquet", pixels[7:], labels[7:])
    write(place / "test-00000-of-00001.parquet", *pictures(6, seed=1))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # both were read when they were imported
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    load_data.cache_clear()
    return place
