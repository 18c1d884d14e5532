"""A change of many files of `results/` that happens as a whole or not at all, whenever it is killed.

The new files are put together in `.submitting`, beside the suites and under the paths that they will have. Renaming it
to `.submitted` is the moment from which the change holds: what lies there takes its place, file by file, now or at the
beginning of the next change.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kdbench.errors import writing
from kdbench.files import sync
from kdbench.layout import BEGUN, DECIDED
from kdbench.records.locks import folder_lock

GONE = ".gone"  # after the name of a file that is to be removed


@contextmanager
def changing(results: Path) -> Iterator[Path]:
    """A folder for the new files, which take their places when the block ends without an error.

    Raises:
        KdbenchError: another process changes the same results, or they cannot be written.
    """
    with writing(results, "Choose another folder with --results"), folder_lock(results):
        finish(results)
        staging = results / BEGUN
        staging.mkdir()
        try:
            yield staging
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        for path in files(staging):
            sync(path)
        staging.rename(results / DECIDED)
        sync(results)
        finish(results)


def finish(results: Path) -> None:
    """Complete the change that was decided and not done, if there is one; forget one that was not decided."""
    decided = results / DECIDED
    for path in files(decided):
        place = results / path.relative_to(decided)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == GONE:
            place.with_suffix("").unlink(missing_ok=True)
            path.unlink()
        else:
            path.replace(place)
    for folder in (decided, results / BEGUN):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)


def remove(path: Path) -> None:
    """Say in a folder of new files that there is to be none of this name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + GONE).touch()


def files(folder: Path) -> list[Path]:
    """The files below a folder, without links."""
    found = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if not path.is_symlink())
