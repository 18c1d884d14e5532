"""Records, checkpoints and teachers in one archive, to carry them from one machine to another.

`runs/<suite>/<method>/<key>/...` is what was run, `cache/<suite>/teachers/<key>/...` the teachers trained for it.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from kdbench.cache import cache_folder
from kdbench.errors import KdbenchError, first_line, writing
from kdbench.files import write_atomically
from kdbench.layout import TEACHERS
from kdbench.records.store import RECORD


def pack(archive: Path, runs: Path, since: float) -> int:
    """Write what changed since a time, in seconds of the epoch, into a .tar.gz, all or nothing.

    Returns:
        the number of files.
    """
    new = [(path, name) for path, name in files(runs) if path.stat().st_mtime >= since]
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    with writing(archive, "Choose another file with --archive"):
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(temporary, "w:gz", compresslevel=3) as tar:
            for path, name in new:
                tar.add(path, arcname=name, recursive=False)
        temporary.replace(archive)
    return len(new)


def files(runs: Path) -> Iterator[tuple[Path, str]]:
    """All files to carry, and their names in an archive; a cell's record after its other files."""
    for root, top in ((runs, "runs"), (cache_folder(), "cache")):
        found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        for path in sorted(found, key=lambda path: (path.name == RECORD, path)):
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") or ".aside-" in part for part in parts)
            if not hidden and (top == "runs" or parts[1:2] == (TEACHERS,)):
                yield path, PurePosixPath(top, *parts).as_posix()


def unpack(archive: Path, runs: Path) -> int:
    """Restore an archive into a folder of records and the cache. What is as new here stays as it is.

    Returns:
        the number of files that were restored.

    Raises:
        KdbenchError: no such archive, or one with anything but files for these two places; then nothing was written.
    """
    count = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            places = [(member, place_of(member, runs, archive)) for member in tar if not member.isdir()]
            for member, path in places:
                if is_needless(path, member.mtime):
                    continue
                content = tar.extractfile(member)
                assert content is not None
                with writing(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(path, content.read())
                    os.utime(path, (member.mtime, member.mtime))
                count += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise KdbenchError(f"Cannot read the archive {archive}: {first_line(error)}.") from error
    return count


def place_of(member: tarfile.TarInfo, runs: Path, archive: Path) -> Path:
    """Where a file of an archive belongs.

    Raises:
        KdbenchError: nowhere: it is a link or a device, or would lie outside of both folders.
    """
    path = PurePosixPath(member.name)
    top, *rest = path.parts or ("",)
    odd = ".." in rest or "\\" in member.name or ":" in member.name or len(rest) < 3 or top not in ("runs", "cache")
    if odd or not member.isreg() or (top == "cache" and rest[1] != TEACHERS):
        raise KdbenchError(f"{archive} holds '{member.name}', no file of records or teachers. Nothing was unpacked.")
    root = runs if top == "runs" else cache_folder()
    place = root.joinpath(*rest)
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise KdbenchError(f"{archive} holds '{member.name}', and a link leads it out of {root}. Nothing was unpacked.")
    return place


def is_needless(path: Path, mtime: float) -> bool:
    """Whether a file is here as new, or belongs to a cell that has its record meanwhile."""
    complete = path.parent.with_name(path.parent.name.removesuffix(".partial"))
    if complete != path.parent and (complete / RECORD).is_file():
        return True
    return path.is_file() and path.stat().st_mtime >= mtime
