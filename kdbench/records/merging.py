"""Folders of records from several machines, brought together: equal records once, conflicts named and left.

What comes from elsewhere is not trusted: links and files that no record has are not copied, and a record takes its
place only after its copy was read and its hashes verified. Nothing is removed from where it comes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kdbench.errors import KdbenchError, writing
from kdbench.files import check_folder, set_aside
from kdbench.layout import COSTS, RESERVED, TEACHERS
from kdbench.records.cost_record import parse_cost
from kdbench.records.locks import key_lock
from kdbench.records.record import Record
from kdbench.records.store import CELL_FOLDER, LARGEST_RECORD, RECORD, Entry, read_cell
from kdbench.tables import NAME

KINDS = frozenset({".json", ".jsonl", ".parquet", ".safetensors", ".png"})  # the files of a record


@dataclass
class Merged:
    """What became of a folder's records.

    Attributes:
        taken, equal: how many records (of cells and costs) were copied, and were there already.
        unfinished: cells in training, which are left.
        problems: records that are left, each in a line that says why.
    """

    taken: int = 0
    equal: int = 0
    unfinished: int = 0
    problems: list[str] = field(default_factory=list)


def check_source(source: Path, out: Path) -> None:
    """Whether a folder can be merged into another.

    Raises:
        KdbenchError: it is none, is the other one or of one suite, or holds no records.
    """
    check_folder(out)
    if not source.is_dir():
        raise KdbenchError(f"No folder {source}. Name the runs/ folder of a machine.")
    if source.resolve() == out.resolve():
        raise KdbenchError(f"{source} is the folder to collect into (--out). Name the folders of other machines.")
    try:
        if any(source.glob(f"*/*/{RECORD}")) and not any(source.glob(f"*/*/*/{RECORD}")):
            raise KdbenchError(f"{source} holds the records of one suite. Name the folder above it.")
        if next(methods_of(source), None) is None:
            raise KdbenchError(f"{source} holds no records. Name the runs/ folder of a machine.")
    except OSError as error:
        raise KdbenchError(f"Cannot read {error.filename}: {error.strerror}. Mend its permissions.") from error


def merge(source: Path, out: Path) -> Merged:
    """Copy the records of a folder that another lacks.

    Raises:
        KdbenchError: the other one cannot be written, or the disk is full.
    """
    done = Merged()
    for folder in methods_of(source):
        try:
            for path in plain(folder, done):
                place = out / path.relative_to(source)
                if folder.name == COSTS:
                    take_cost(path, place, done)
                elif CELL_FOLDER.fullmatch(path.name):
                    take_cell(path, place, out, done)
                else:
                    done.unfinished += path.name.endswith(".partial")
        except OSError as error:
            done.problems.append(f"{folder}: cannot be read ({error.strerror}); left.")
    return done


def methods_of(source: Path) -> Iterator[Path]:
    """The folders of methods and costs below a folder of records; links are not followed."""
    for suite in plain(source):
        if suite.is_dir() and re.fullmatch(NAME, suite.name):
            for folder in plain(suite):
                if folder.is_dir() and re.fullmatch(NAME, folder.name) and folder.name not in RESERVED - {COSTS}:
                    yield folder


def plain(folder: Path, done: Merged | None = None) -> Iterator[Path]:
    """What lies in a folder, in order, without links, which are named if there is anybody to tell."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not entry.is_symlink():
            yield Path(entry.path)
        elif done is not None:
            done.problems.append(f"{entry.path}: it is a link; left.")


def take_cell(folder: Path, place: Path, out: Path, done: Merged) -> None:
    """Copy a cell's record if there is none; compare them if there is."""
    try:
        theirs = read_foreign(folder)
        record = theirs.record
        with key_lock(out, record.suite, record.key) as free:
            mine = standing(place)
            if mine is not None and mine.record.result == record.result:
                done.equal += 1
            elif mine is not None:
                done.problems.append(conflict(theirs, mine))
            elif not free:
                done.problems.append(f"{folder}: its cell is in training at {place}; collect again after that.")
            else:
                copy_cell(folder, place)
                done.taken += 1
    except Foreign as problem:
        done.problems.append(f"{folder}: {problem}; left.")


class Foreign(Exception):
    """What comes from elsewhere and is no record."""


def read_foreign(folder: Path) -> Entry:
    """A record from elsewhere, its hashes verified.

    Raises:
        Foreign: links, files of other kinds, another place than the record's own, or no valid record.
    """
    for file in list(os.scandir(folder)):
        if file.is_symlink() or not file.is_file() or Path(file.name).suffix not in KINDS:
            raise Foreign(f"'{file.name}' is no file of a record")
        if file.name == RECORD and file.stat().st_size > LARGEST_RECORD:
            raise Foreign(f"'{RECORD}' is larger than any record")
    entry = verified(folder)
    if where(entry.record) != (folder.parent.parent.name, folder.parent.name):
        raise Foreign(f"its record is of {'/'.join(where(entry.record))}")
    return entry


def verified(folder: Path) -> Entry:
    """The record in a folder.

    Raises:
        Foreign: it is not valid.
    """
    try:
        return read_cell(folder)
    except KdbenchError as error:
        raise Foreign(str(error).rstrip(".")) from error


def where(record: Record) -> tuple[str, str]:
    """The folders of suite and method that a record belongs into."""
    return record.suite, TEACHERS if record.is_teacher else record.method.name


def standing(place: Path) -> Entry | None:
    """The record that is in a place; one that is corrupt counts as none."""
    if not place.exists():
        return None
    try:
        return read_cell(place)
    except KdbenchError:
        return None


def conflict(theirs: Entry, mine: Entry) -> str:
    """Two records of a cell that differ, in a line."""
    one, other = theirs.record, mine.record
    if one.method.source_sha256 != other.method.source_sha256:
        what = f"by another source of '{one.method.name}'"
    else:
        values = [f"{r.accuracy:.2f} %" if r.networks else r.status for r in (one, other)]
        what = f"with other predictions ({values[0]} beside {values[1]})"
    return f"{theirs.folder}: {mine.folder} has the same cell, {what}; left."


def copy_cell(folder: Path, place: Path) -> None:
    """Copy a record's files, verify the copy and rename it into place; a corrupt record there is set aside.

    Raises:
        KdbenchError: the place cannot be written, or the disk is full.
        Foreign: the copy is not what was read.
    """
    staging = place.parent / f".collecting-{os.getpid()}" / place.name
    try:
        with writing(place):
            staging.mkdir(parents=True)
            for path in folder.iterdir():
                shutil.copyfile(path, staging / path.name, follow_symlinks=False)
        verified(staging)
        with writing(place):
            if place.exists():
                set_aside(place)
            staging.rename(place)
    finally:
        shutil.rmtree(staging.parent, ignore_errors=True)


def take_cost(path: Path, place: Path, done: Merged) -> None:
    """Copy what `kdbench cost` measured, where nothing of its name is there."""
    if not path.is_file() or path.suffix != ".json" or path.stat().st_size > LARGEST_RECORD:
        done.problems.append(f"{path}: it is no file of a record; left.")
        return
    content = path.read_bytes()
    try:
        parse_cost(content, str(path))
    except KdbenchError as error:
        done.problems.append(f"{str(error).rstrip('.')}; left.")
        return
    if place.is_file():
        if place.read_bytes() == content:
            done.equal += 1
        else:
            done.problems.append(f"{path}: {place} was measured otherwise; left.")
        return
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}")
        new.write_bytes(content)
        new.replace(place)
    done.taken += 1
