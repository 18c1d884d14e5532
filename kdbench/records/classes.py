"""The classes of a data set: their names, and that of each test image. In `runs/` they lie beside a record.

A name is whatever a folder or a column's type is called: nobody's own text, to be escaped wherever it is shown.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from kdbench.errors import KdbenchError, first_problem
from kdbench.records.parts import Part
from kdbench.records.record import Record

FILE = "classes.json"


class Classes(Part):
    """What a test image can be called.

    Attributes:
        names: of the classes, in the order of their numbers; None where the data name none.
        test_labels: the class of each image that the record was evaluated on, in canonical order.
    """

    names: list[str] | None
    test_labels: list[int]

    @cached_property
    def labels(self) -> np.ndarray:
        """(I,) the test labels."""
        return np.array(self.test_labels, dtype=np.int64)

    def name(self, number: int) -> str:
        """What a class is called, or its number."""
        return self.names[number] if self.names else str(number)


def write_classes(folder: Path, names: list[str] | None, labels: np.ndarray) -> None:
    """Write the classes of the images that a record was evaluated on beside it."""
    classes = Classes(names=names, test_labels=labels.tolist())
    (folder / FILE).write_text(classes.model_dump_json() + "\n", encoding="utf-8")


def read_classes(folder: Path, record: Record) -> Classes | None:
    """The classes beside a record; None where none are, as beside records of earlier versions of kdbench.

    Raises:
        KdbenchError: the file is corrupt, or of other data than the record.
    """
    path = folder / FILE
    try:
        classes = Classes.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        raise KdbenchError(f"{path} is corrupt: {first_problem(error)}. Remove it: only names are lost.") from error
    known = range(record.num_classes)
    if len(classes.names or known) != len(known) or not set(classes.test_labels) <= set(known):
        raise KdbenchError(f"{path} is corrupt: its record is of other classes. Remove it: only names are lost.")
    return classes
