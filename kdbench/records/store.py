"""Where records lie: `runs/` (a folder per cell, what you ran) and `results/` (folded files, what the board accepted).

runs/<suite>/<method>/<key>/record.json, evidence.parquet, logits.safetensors, <student>-<hash>.safetensors,
    classes.json (what the classes are called, and that of each test image),
    and synthetic.safetensors, synthetic.png of a method that makes images
results/<suite>/<method>/records.jsonl (no curves), evidence.parquet, curves.parquet, verified.jsonl,
    and distilled.safetensors of a method that distils data
results/<suite>/teachers/the same, <model>-<hash>.safetensors
Both have <suite>/costs/<method>-<hash>.json, what `kdbench cost` measured.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdbench.console import Notice
from kdbench.errors import KdbenchError, writing
from kdbench.files import read_plain, supersede, sync
from kdbench.layout import RESULTS, RUNS
from kdbench.records.curves import write_curves
from kdbench.records.distilled import IMAGES, checked_images, read_distilled, write_distilled
from kdbench.records.evidence import Evidence, read_evidence, write_evidence
from kdbench.records.record import Record, parse_record
from kdbench.records.successors import is_asked_again, partial_folder
from kdbench.records.tasks import image_scores, in_order

RECORD = "record.json"  # of a cell in `runs/`
DISTILLED = "distilled.safetensors"  # the images of a folder of `results/`, by their hash
RECORDS, EVIDENCE, CURVES, VERIFIED = "records.jsonl", "evidence.parquet", "curves.parquet", "verified.jsonl"
SYNTHETIC, GRID = "synthetic.safetensors", "synthetic.png"  # images that a method made
TWICE = "another run trained it meanwhile (its lock did not hold)"
LARGEST_RECORD = 64 * 2**20  # bytes, with its curve
CELL_FOLDER = re.compile(r"[0-9a-f]{16}")  # the first digits of a key


@dataclass(frozen=True)
class Entry:
    """A record with its evidence and where it was found.

    Attributes:
        folder: of a cell in `runs/`, or of a method in `results/`.
        evidence: None for a cell that is not applicable.
        others: evidence of further networks, by role.
        images: (K, C, H, W) uint8, the distilled data that its student learned from, if it did from such.
    """

    record: Record
    evidence: Evidence | None
    folder: Path
    others: Mapping[str, Evidence] = field(default_factory=dict)
    images: np.ndarray | None = None

    @property
    def correct(self) -> np.ndarray | None:
        """(I,) is the network right on each test image?"""
        return None if self.evidence is None else self.evidence.rank == 0

    @property
    def scores(self) -> np.ndarray | None:
        """(I,) what each test image adds to the accuracy that rows are ranked by, whose hundredth their mean is."""
        result = self.record.tasks
        if result is None or self.evidence is None:
            return self.correct
        after = in_order(self.evidence, self.others, len(result.images))
        return None if after is None else image_scores(result, after)


def evidence_of(entry: Entry) -> Evidence:
    """The evidence of a record that has one."""
    assert entry.evidence is not None
    return entry.evidence


def cell_folder(runs: Path, suite: str, method: str, key: str) -> Path:
    return runs / suite / method / key[:16]


def other_key(key: str, role: str) -> str:
    """Where the evidence of a further network of a record lies beside the record's own."""
    return f"{key}/{role}"


def with_others(record: Record, evidence: Evidence, others: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """All evidence of a record, by the keys under which it is written."""
    return {record.key: evidence} | {other_key(record.key, role): found for role, found in others.items()}


def own_folder(folder: Path) -> Path:
    """Where this process alone puts a cell's record together: another may do so too, where locks do not hold."""
    return folder.with_name(f"{folder.name}.{platform.node()}-{os.getpid()}")


@contextmanager
def assembling(folder: Path) -> Iterator[Path]:
    """The folder of this process for the files of a cell's record, which is gone at the end."""
    place = own_folder(folder)
    with writing(folder):
        place.mkdir(parents=True, exist_ok=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def finish_cell(
    folder: Path,
    record: Record,
    evidence: Evidence | None,
    others: Mapping[str, Evidence] | None = None,
    notice: Notice = print,
) -> tuple[Entry, bool]:
    """Write a record beside its files and rename their folder into place: complete, or not there.

    A record that is there already is set aside if it was to be replaced. One that another process put there meanwhile
    stays; this one is dropped if it says the same, else set aside.

    Args:
        others: evidence of further networks, by role.

    Returns:
        the record that is in place, and whether it is this one.

    Raises:
        KdbenchError: the disk is full or the folder cannot be written.
    """
    with assembling(folder) as place:
        with writing(folder):
            if evidence is not None:
                write_evidence(place / EVIDENCE, with_others(record, evidence, others or {}))
            (place / RECORD).write_text(record.to_json() + "\n", encoding="utf-8")
            for path in place.iterdir():
                sync(path)
            first = None if put_in_place(place, folder) else first_record(place, folder, record, notice)
            sync(folder.parent)
        shutil.rmtree(partial_folder(folder), ignore_errors=True)
        images = None if first else cell_images(record, folder)
        return (first, False) if first else (Entry(record, evidence, folder, others or {}, images), True)


def put_in_place(place: Path, folder: Path) -> bool:
    """Rename a folder to its place; False if that is taken."""
    try:
        place.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EACCES) or not folder.exists():
            raise
        return False
    return True


def first_record(place: Path, folder: Path, record: Record, notice: Notice) -> Entry | None:
    """The record that is in place and stays; None if it was set aside, and this one is there now."""
    try:
        entry = read_cell(folder)
    except KdbenchError:
        entry = None
    changed = entry is None or entry.record.method.source_sha256 != record.method.source_sha256
    if entry is None or changed or is_asked_again(folder, entry.record):
        notice(f"{folder}: the record before is set aside as {supersede(place, folder).name}.")
        return None
    if entry.record.result == record.result:
        notice(f"{folder}: {TWICE}, with equal predictions; the first record is kept.")
        return entry
    aside = place.rename(folder.with_name(f"{place.name}.aside-1"))
    notice(f"{folder}: {TWICE}, with other predictions; the first record is kept, this one set aside as {aside.name}.")
    return entry


def read_cell(folder: Path) -> Entry:
    """Read one cell of `runs/` and check its hashes.

    Raises:
        KdbenchError: a file is missing, unreadable, of another schema or does not match its hash.
    """
    path = folder / RECORD
    if folder.is_symlink():
        raise KdbenchError(f"{folder} is a link. Put the folder itself there.")
    try:
        record = parse_record(read_plain(path, LARGEST_RECORD), str(path))
    except FileNotFoundError as error:
        raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error
    if record.key[:16] != folder.name:
        raise KdbenchError(f"{path} is corrupt: its key is not that of its folder.")
    if record.evidence_sha256 is None:
        return Entry(record, None, folder)
    known = read_evidence(folder / EVIDENCE)
    images = cell_images(record, folder)
    return Entry(record, checked(record, known, folder), folder, checked_others(record, known, folder), images)


def cell_images(record: Record, folder: Path) -> np.ndarray | None:
    """The distilled data of a cell in `runs/`, their hash verified; None for a student that learned from no such."""
    if record.distilled is None:
        return None
    path = folder / SYNTHETIC
    try:
        return checked_images(read_distilled(path), IMAGES, record.distilled.sha256, path)
    except FileNotFoundError as error:
        raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error


def checked_others(record: Record, evidence: dict[str, Evidence], folder: Path) -> dict[str, Evidence]:
    """The evidence of a record's further networks, by role, the hashes verified."""
    found: dict[str, Evidence] = {}
    for network in record.others:
        one = evidence.get(other_key(record.key, network.role))
        if one is None or one.sha256() != network.evidence_sha256:
            what = f"'{network.role}' of key {record.key[:16]}"
            raise KdbenchError(f"{folder / EVIDENCE} is corrupt: {what} does not match its hash.")
        found[network.role] = one
    return found


def checked(record: Record, evidence: dict[str, Evidence], folder: Path) -> Evidence:
    """The evidence of a record, its hash verified."""
    if record.key not in evidence or evidence[record.key].sha256() != record.evidence_sha256:
        raise KdbenchError(f"{folder / EVIDENCE} is corrupt: key {record.key[:16]} does not match its hash.")
    return evidence[record.key]


def read_runs(runs: Path, suite: str | None = None, method: str | None = None) -> Iterator[Entry | KdbenchError]:
    """All complete cells below `runs/`; a corrupt one comes as the error that names it."""
    for folder in sorted(runs.glob(f"{suite or '*'}/{method or '*'}/*")):
        if CELL_FOLDER.fullmatch(folder.name):
            try:
                yield read_cell(folder)
            except KdbenchError as error:
                yield error


def write_results(folder: Path, entries: list[Entry]) -> None:
    """Fold records into `records.jsonl`, a line each in a stable order; their evidence and curves into a file each.

    Raises:
        KdbenchError: the disk is full or the folder cannot be written.
    """

    def new(name: str) -> Path:
        return folder / f".{name}"

    entries = sorted(entries, key=lambda e: (e.record.student, e.record.teacher or "", e.record.seed, e.record.key))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        known = [with_others(e.record, e.evidence, e.others) for e in entries if e.evidence]
        write_evidence(new(EVIDENCE), {key: one for found in known for key, one in found.items()})
        write_curves(new(CURVES), {e.record.key: e.record.curve for e in entries if e.record.curve})
        images = {e.record.distilled.sha256: e.images for e in entries if e.record.distilled and e.images is not None}
        if images:
            write_distilled(new(DISTILLED), images)
        text = "".join(e.record.to_json(curve=False) + "\n" for e in entries)
        new(RECORDS).write_text(text, encoding="utf-8")
        for name in (*([DISTILLED] if images else []), EVIDENCE, CURVES, RECORDS):
            new(name).replace(folder / name)


def find_results(given: Path | None) -> Path | None:
    """Where accepted results lie: `--results`, `./results`, the source checkout; None where there are none.

    Raises:
        KdbenchError: `--results` names no folder.
    """
    if given is not None:
        if not given.is_dir():
            raise KdbenchError(f"No folder {given} (--results).")
        if any(given.glob("*/records.jsonl")):
            raise KdbenchError(f"{given} holds the results of one suite (--results). Name the folder above it.")
        return given
    here, checkout = RESULTS, Path(__file__).resolve().parents[2] / RESULTS
    if here.is_dir():
        return here
    return checkout if checkout.is_dir() and (checkout.parent / "pyproject.toml").is_file() else None


def find_runs(given: Path | None) -> Path:
    """Where your own records lie: `--runs`, else `./runs`, which need not be there.

    Raises:
        KdbenchError: `--runs` names no folder, or `./runs` is none.
    """
    folder = given or RUNS
    if not folder.is_dir() and (given is not None or folder.exists()):
        raise KdbenchError(f"No folder {folder} (--runs). 'kdbench run' writes records to runs/, or where --out says.")
    if any(folder.glob("*/*/record.json")):
        raise KdbenchError(f"{folder} holds the records of one suite (--runs). Name the folder above it.")
    return folder


def weights_name(model: str, sha256: str) -> str:
    """Name of a weights file: by its content."""
    return f"{model}-{sha256[:12]}.safetensors"
