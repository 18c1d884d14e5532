"""What a change of accepted results may do: add rows; replace or remove them with a new line in `WITHDRAWN.md` each.

What was told before stays told, and what was verified is said by the board alone: its own workflow adds to
`verified.jsonl` after a change was accepted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.files import read_plain
from kdbench.records.guard import Guarded
from kdbench.records.reader import Line, Problem
from kdbench.records.record import Record, parse_record
from kdbench.records.store import RECORDS, VERIFIED
from kdbench.records.verification import parse_verification
from kdbench.records.withdrawn import FILE, MAX_FILE, Withdrawn, place_of, read_withdrawn

Said = Iterator[tuple[str, str]]  # where, what


def change_problems(results: Path, before: Path, records: Sequence[Record]) -> Said:
    """What a change does that it may not, each with its file.

    Args:
        before: the results without the change.
        records: of `results`.
    """
    accepted: list[Record] = []
    for path in sorted(before.glob(f"*/*/{RECORDS}")):
        for line in Guarded().lines(path, parse_record):
            if isinstance(line, Problem):
                yield line.where, f"{line.what} (so it cannot be told what becomes of it)"
            else:
                accepted.append(line[1])
    yield from explanations(results, before, accepted, records)
    yield from verifications(results, before)


def explanations(results: Path, before: Path, accepted: Sequence[Record], records: Sequence[Record]) -> Said:
    """Each row that is gone or replaced has one new line, and each new line such a row."""
    path = results / FILE
    old, new = (content(folder / FILE).rstrip(b"\n") for folder in (before, results))
    if new != old and not new.startswith(old + b"\n" if old else b""):
        yield str(path), "lines that were there are gone or changed: only add to its end"
        return
    told = sum(1 for _ in read_withdrawn(before / FILE))
    lines = [line for _, line in list(read_withdrawn(path))[told:] if isinstance(line, Withdrawn)]
    kept = {record.sha256 for record in records}
    gone = {place_of(record) for record in accepted if not record.is_teacher and record.sha256 not in kept}
    rows = {(record.suite, record.row) for record in records if not record.is_teacher}
    count = Counter(line.place for line in lines)
    for place in sorted(gone | set(count)):
        suite, row, version, protocol = place
        about = f"'{row}' version {version} on {suite} ({protocol})"
        if place not in gone:
            yield str(path), f"a new line tells of {about}, and nothing of it is gone or replaced"
        elif not count[place]:
            yield str(path), f"records of {about} are gone, and no new line says why"
        elif count[place] > 1:
            yield str(path), f"{count[place]} new lines tell of {about}: one is enough"
    for line in lines:
        if line.status == "superseded" and (line.suite, line.row) not in rows:
            yield str(path), f"'{line.row}' on {line.suite} is superseded, and nothing stands in its place"


def content(path: Path) -> bytes:
    try:
        return read_plain(path, MAX_FILE)
    except (FileNotFoundError, KdbenchError):  # which is told where the file is read as a table
        return b""


def verifications(results: Path, before: Path) -> Said:
    """No verification is new; those of records that are still there stay."""
    for folder in sorted({path.parent.relative_to(root) for root in (results, before) for path in verified(root)}):
        path = results / folder / VERIFIED
        here = {r.sha256 for r in readable(results / folder / RECORDS, parse_record)}
        old = [v for v in readable(before / folder / VERIFIED, parse_verification) if v.record_sha256 in here]
        new = list(readable(path, parse_verification))
        if any(v not in old for v in new):
            yield str(path), "it has new lines: the board's own verification alone counts. Restore the file"
        elif any(v not in new for v in old):
            yield str(path), "lines of records that are still here are gone. Restore the file"


def verified(root: Path) -> Iterator[Path]:
    return root.glob(f"*/*/{VERIFIED}")


def readable(path: Path, parse: Callable[[bytes, str], Line]) -> Iterator[Line]:
    """The lines of a file that can be read; whoever checks it tells of the others."""
    if path.is_file():
        yield from (line[1] for line in Guarded().lines(path, parse) if not isinstance(line, Problem))
