"""Folders of image files: a folder a class below the folders of the train and test parts."""

from __future__ import annotations

import os
from dataclasses import dataclass
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
    """The train and test files of a suite. The names of train's folders, sorted, are the classes.

    Raises:
        KdbenchError: no such folders, something in them that is no image, a class that train does not have, or other
            numbers of images or classes than the suite says.
    """
    parts: list[Part] = []
    classes: list[str] = []
    for split, size in zip(data.splits or ("train", "val"), (data.train, data.test), strict=True):
        folder = folder_of(data) / split
        if not folder.is_dir():
            raise KdbenchError(f"No folder {folder} of '{data.source}' (--data-dir, KDBENCH_DATA).")
        files = {place.name: image_files(place) for place in class_folders(folder)}
        classes = classes or list(files)
        if strange := [name for name in files if name not in classes]:
            raise KdbenchError(
                f"{folder} has the classes {', '.join(strange)}, which the train part does not have. Remove them, or "
                "give each class the same name in both."
            )
        found, wanted = (sum(map(len, files.values())), len(classes)), (size, data.num_classes)
        if found != wanted:
            raise KdbenchError(
                f"{folder} has {found[0]} images of {found[1]} classes, but the suite's [data] says {wanted[0]} of "
                f"{wanted[1]}."
            )
        if not parts and (empty := [name for name, paths in files.items() if not paths]):
            raise KdbenchError(f"{folder / empty[0]} has no image to learn its class from. Add some or remove it.")
        numbers = np.array([classes.index(name) for name in files], dtype=np.int64)
        labels = np.repeat(numbers, [len(paths) for paths in files.values()])
        parts.append(Part([path for paths in files.values() for path in paths], labels))
    return parts


def visible(folder: Path) -> list[Path]:
    """What a folder holds, in the order of names, without hidden files.

    Raises:
        KdbenchError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name not in IGNORED)
    except OSError as error:
        raise KdbenchError(f"Cannot read {folder}: {error.strerror}. Mend its permissions.") from error


def class_folders(folder: Path) -> list[Path]:
    """The class folders of one part.

    Raises:
        KdbenchError: there are files beside them.
    """
    found = visible(folder)
    if files := [path for path in found if not path.is_dir()]:
        raise KdbenchError(f"{files[0]} lies in no class folder. Move it into the folder of its class, or away.")
    return found


def image_files(folder: Path) -> list[Path]:
    """The images of one class.

    Raises:
        KdbenchError: there is something else among them.
    """
    found = visible(folder)
    for path in found:
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            raise KdbenchError(
                f"{path} is no image file ({', '.join(SUFFIXES)}), and nothing else belongs in a class folder. Move it."
            )
    return found
