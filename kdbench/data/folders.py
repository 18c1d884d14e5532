"""Folders of image files: a folder a class below the folders of the train and test parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.tables import Data

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
IGNORED = {"desktop.ini", "Thumbs.db"}  # as hidden files are: of file managers


@dataclass(frozen=True)
class Part:
    """The files of one part, in the order of their classes' and their own names, and their labels (N,) int64."""

    paths: list[Path]
    labels: np.ndarray

    def rows(self, taken: np.ndarray) -> Part:
        """The files of a mask."""
        return Part([path for path, is_taken in zip(self.paths, taken, strict=True) if is_taken], self.labels[taken])


def data_dir() -> Path | None:
    """The user's own copy of data sets: `--data-dir`, else `KDBENCH_DATA`."""
    found = os.environ.get("KDBENCH_DATA")
    return Path(found).expanduser().absolute() if found else None


def folder_of(data: Data) -> Path:
    """The folder that holds the parts of a suite's data.

    Raises:
        KdbenchError: the user named none.
    """
    root, name = data_dir(), data.source.partition("/")[2]
    if root is None:
        raise KdbenchError(
            f"Suite data '{data.source}' are folders of images: name the folder that holds {name}/ with --data-dir "
            "or KDBENCH_DATA."
        )
    return root / name


def list_parts(data: Data) -> list[Part]:
    """The train and test files of a suite, or all of one that is still to be split.

    The names of train's folders, sorted, are the classes.

    Raises:
        KdbenchError: no such folders, something in them that is no image, a class that train does not have, or other
            numbers of images or classes than the suite says.
    """
    parts: list[Part] = []
    classes: list[str] = []
    wanted_parts = zip(data.splits or ("train", "val"), (data.train, data.test), strict=True)
    for split, size in [("", data.train + data.test)] if data.split_seed is not None else wanted_parts:
        folder = folder_of(data) / split
        if not folder.is_dir():
            raise KdbenchError(f"No folder {folder} of '{data.source}' (--data-dir, KDBENCH_DATA).")
        seen = Visible(folder_of(data), data.exclude or ())
        files = {place.name: image_files(place, seen) for place in class_folders(folder, seen)}
        classes = classes or list(files)
        if strange := [name for name in files if name not in classes]:
            raise KdbenchError(
                f"{folder} has the classes {', '.join(strange)}, which the train part does not have. Remove them, or "
                "give each class the same name in both."
            )
        found, wanted = (sum(map(len, files.values())), len(classes)), (size, data.num_classes)
        if found != wanted:
            named = f": its classes are {listed(classes)}" if found[1] != wanted[1] else ""
            raise KdbenchError(
                f"{folder} has {found[0]} images of {found[1]} classes, but the suite's [data] says {wanted[0]} of "
                f"{wanted[1]}{named}."
            )
        if not parts and (empty := [name for name, paths in files.items() if not paths]):
            raise KdbenchError(f"{folder / empty[0]} has no image to learn its class from. Add some or remove it.")
        numbers = np.array([classes.index(name) for name in files], dtype=np.int64)
        labels = np.repeat(numbers, [len(paths) for paths in files.values()])
        parts.append(Part([path for paths in files.values() for path in paths], labels))
    return parts


@dataclass(frozen=True)
class Visible:
    """What folders hold, in the order of names, without hidden files and what is excluded.

    Attributes:
        root: the folder that the paths of patterns begin at.
        exclude: patterns of the shell.
    """

    root: Path
    exclude: Sequence[str] = ()

    def __call__(self, folder: Path) -> list[Path]:
        """The files and folders in a folder.

        Raises:
            KdbenchError: it cannot be read.
        """
        try:
            found = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name not in IGNORED)
        except OSError as error:
            raise KdbenchError(f"Cannot read {folder}: {error.strerror}. Mend its permissions.") from error
        return [path for path in found if not self.excludes(path)]

    def excludes(self, path: Path) -> bool:
        """Whether a pattern is the path's, below the root."""
        name = path.relative_to(self.root).as_posix()
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


def class_folders(folder: Path, seen: Visible) -> list[Path]:
    """The class folders of one part.

    Raises:
        KdbenchError: there are files beside them.
    """
    found = seen(folder)
    if files := [path for path in found if not path.is_dir()]:
        raise KdbenchError(
            f"{files[0]} lies in no class folder. Move it into the folder of its class, or away, or name it in "
            "data.exclude."
        )
    return found


def image_files(folder: Path, seen: Visible) -> list[Path]:
    """The images of one class.

    Raises:
        KdbenchError: there is something else among them.
    """
    found = seen(folder)
    for path in found:
        if not is_image(path):
            what = "no folder" if path.is_dir() else "nothing else"
            raise KdbenchError(
                f"{path} is no image file ({', '.join(SUFFIXES)}), and {what} belongs in a class folder. Move it, or "
                "name it in data.exclude."
            )
    return found


def is_image(path: Path) -> bool:
    """Whether a path is a file with a suffix of images."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def listed(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
