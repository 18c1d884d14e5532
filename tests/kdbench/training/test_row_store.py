"""Rows on disk: there once they are whole, whoever wrote them, within a limit that is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.training import row_store
from kdbench.training.row_store import RowStore, open_stores, store_folder

FLOATS = np.dtype(np.float32)
ROWS = np.array([7, 2, 5])
VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)

KILLED = """
import os, signal, numpy as np
from kdbench.training import row_store
write = row_store.write_rows
def write_until(path, rows, values):
    if path.name.endswith(row_store.MASK):
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, rows, values)
stores = row_store.open_stores({"a.b": (4, np.dtype(np.float32))}, 10, "Rows", print)
stores["a.b"].write(np.array([1]), np.ones((1, 4), np.float32))
row_store.write_rows = write_until
stores["a.b"].write(np.array([2]), np.ones((1, 4), np.float32))
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))


def opened(said: list[str] | None = None, rows: int = 10) -> RowStore:
    stores = open_stores({"a.b": (4, FLOATS)}, rows, "Rows", ([] if said is None else said).append)
    assert stores is not None
    return stores["a.b"]


def test_what_one_process_writes_another_one_reads() -> None:
    said: list[str] = []
    first, second = opened(said), opened(said)
    assert len(said) == 1  # by the one that made it
    assert "Rows are computed once and kept" in said[0]
    assert not first.has(ROWS).any()
    second.write(ROWS, VALUES)
    for store in (first, second, opened()):
        assert store.has(np.arange(10)).tolist() == [row in ROWS for row in range(10)]
        np.testing.assert_array_equal(store.read(ROWS), VALUES)


def test_a_row_counts_only_once_its_values_are_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    store, on_disk = opened(), []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (on_disk.append(store.has(ROWS).any()), sync(file)))
    store.write(ROWS, VALUES)
    assert on_disk == [False, True]


def test_a_killed_process_leaves_the_rows_that_it_finished_and_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert done.returncode == -signal.SIGKILL
    store = opened()
    assert store.values[2].tolist() == [1, 1, 1, 1]  # written, and not said to be there
    assert store.has(np.array([1, 2])).tolist() == [True, False]


def test_a_file_of_another_length_is_made_anew() -> None:
    opened().write(ROWS, VALUES)
    path = store_folder() / "a.b.rows"
    os.truncate(path, 100)
    assert not opened().has(ROWS).any()
    assert path.stat().st_size == 10 * 4 * 4


def test_stores_that_could_outgrow_the_limit_together_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_STORE_LIMIT", "2e-7")  # 200 bytes
    opened()
    said: list[str] = []
    assert open_stores({"other": (4, FLOATS)}, 10, "Others", said.append) is None
    assert len(said) == 1
    assert "Others are not kept: with 0.00016 MB" in said[0]
    assert not (store_folder() / "other.rows").exists()
    opened(said)
    assert len(said) == 1
    monkeypatch.setenv("KDBENCH_STORE_LIMIT", "0")
    assert open_stores({"a.b": (4, FLOATS)}, 10, "Rows", said.append) is None
    assert len(said) == 1


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_a_limit_that_is_no_number_is_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_STORE_LIMIT", text)
    with pytest.raises(KdbenchError, match=f"KDBENCH_STORE_LIMIT={text}: give a number of GB"):
        opened()


def test_rows_of_a_file_are_written_between_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"........")
    row_store.write_rows(path, np.array([1, 3]), np.frombuffer(b"abcd", np.uint16))
    assert path.read_bytes() == b"..ab..cd"


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    store = opened()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KdbenchError, match="the disk is full"):
        store.write(ROWS, VALUES)
    assert not store.has(ROWS).any()
