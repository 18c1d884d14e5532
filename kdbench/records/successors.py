"""A cell that is trained again: its record stays in its place until the next one is complete."""

from __future__ import annotations

from pathlib import Path

from kdbench.files import read_plain, write_atomically
from kdbench.records.record import Record

MARK = "replaces"  # in the folder of the training: the hash of the record that the next one takes the place of


def partial_folder(folder: Path) -> Path:
    """Where a cell's checkpoint lies while it is trained, and its files until they are complete."""
    return folder.with_name(folder.name + ".partial")


def ask_again(folder: Path, record: Record) -> None:
    """Have the cell of a record trained again, now or by a later command."""
    mark = partial_folder(folder) / MARK
    mark.parent.mkdir(exist_ok=True)
    write_atomically(mark, record.sha256.encode())


def is_asked_again(folder: Path, record: Record) -> bool:
    """Whether a record awaits its successor."""
    try:
        return read_plain(partial_folder(folder) / MARK, 100).decode() == record.sha256
    except FileNotFoundError:
        return False
