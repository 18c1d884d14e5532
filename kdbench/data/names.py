"""What the classes of a suite's data are called: by their folders, or by the type of the labels' column."""

from __future__ import annotations

import json
from pathlib import Path

from kdbench.data.folders import Visible, class_folders, data_dir, folder_of
from kdbench.data.parquet import class_names as names_in_table
from kdbench.data.parquet import hub_tables, local_tables, splits
from kdbench.data.small import data_folder
from kdbench.errors import KdbenchError
from kdbench.files import write_atomically
from kdbench.suites import shipped_names
from kdbench.tables import Data


def class_names(data: Data) -> list[str] | None:
    """The names of the classes in the order of their numbers; None where there are none, or none that can be had here.

    Those of images that are held decoded are kept beside them.
    """
    if names := shipped_names(data.source, data.num_classes):
        return names
    try:
        if data.is_large:
            return folder_names(data)
        path = data_folder(data) / "names.json"
        if not path.is_file():
            found = folder_names(data) if data.is_folder else table_names(data)
            write_atomically(path, json.dumps(found).encode())
        return known_names(path, data)
    except (KdbenchError, OSError, ValueError):  # names are no reason to fail
        return None


def known_names(path: Path, data: Data) -> list[str] | None:
    """The names that are kept, if they are whole."""
    names = json.loads(path.read_bytes())
    whole = isinstance(names, list) and len(names) == data.num_classes and all(isinstance(n, str) for n in names)
    return names if whole else None


def folder_names(data: Data) -> list[str]:
    """The names of train's class folders.

    Raises:
        KdbenchError: they are not there.
    """
    split = "" if data.split_seed is not None else (data.splits or ("train", "val"))[0]
    seen = Visible(folder_of(data), data.exclude or ())
    return [place.name for place in class_folders(folder_of(data) / split, seen)]


def table_names(data: Data) -> list[str] | None:
    """The names in the type of train's labels.

    Raises:
        KdbenchError: files that are missing or cannot be read.
    """
    read = local_tables if data_dir() else hub_tables
    return names_in_table(read(data, splits(data)[0])[0], data)
