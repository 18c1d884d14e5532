"""`kdbench cache` says what is kept, and removes the stored outputs alone."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kdbench.commands.cache import show_cache
from kdbench.errors import KdbenchError
from kdbench.training.row_store import open_stores


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a store of a million rows, one of which is there, and something else."""
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "weights").write_bytes(b"w" * 5000)
    stores = open_stores({"teacher-logits-0": (10, np.dtype(np.float32))}, 10**6, "Rows", lambda text: None)
    assert stores is not None
    stores["teacher-logits-0"].write(np.array([7]), np.ones((1, 10), np.float32))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], clear: str | None = None) -> dict[str, dict[str, int]]:
    show_cache(clear, Console(quiet=True), as_json=True)
    found: dict[str, dict[str, int]] = json.loads(capsys.readouterr().out)
    return found


def test_sizes_are_those_on_disk_and_those_that_stores_may_have(capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys)
    assert found["bytes"]["digits"] >= 5000
    assert found["outputs"]["teacher-logits-0"]["at_most"] == 4 * 10**7
    assert 40 <= found["outputs"]["teacher-logits-0"]["bytes"] < 10**6
    assert found["limit"] == 10**10


def test_outputs_are_cleared_and_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys, clear="outputs")
    assert found["outputs"] == {}
    assert (folder / "digits" / "weights").is_file()
    assert shown(capsys, clear="outputs")["bytes"] == found["bytes"]


def test_a_person_is_shown_a_table() -> None:
    console = Console(record=True, width=100, file=StringIO())
    show_cache(None, console, as_json=False)
    text = console.export_text()
    assert "teacher-logits-0" in text
    assert "40 MB" in text
    assert "10 GB together (KDBENCH_STORE_LIMIT)" in text


def test_what_cannot_be_cleared_is_one_line() -> None:
    with pytest.raises(KdbenchError, match="--clear teachers: only 'outputs' can be cleared"):
        show_cache("teachers", Console(quiet=True), as_json=False)
