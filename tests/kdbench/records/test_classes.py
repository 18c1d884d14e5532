"""The classes beside a record: as they were written, or one line about what is wrong with the file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kdbench.errors import KdbenchError
from kdbench.records.classes import FILE, read_classes, write_classes

RECORD: Any = SimpleNamespace(num_classes=2)


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_classes(tmp_path, ["a\nb", "\u202e<script>"], np.array([0, 1, 1]))
    classes = read_classes(tmp_path, RECORD)
    assert classes is not None
    assert (classes.names, classes.labels.tolist()) == (["a\nb", "\u202e<script>"], [0, 1, 1])


def test_records_of_earlier_versions_have_none(tmp_path: Path) -> None:
    assert read_classes(tmp_path, RECORD) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"names": ["a"], "test_labels": [0]}', '{"names": null, "test_labels": [2]}', "\xff"]
)
def test_a_file_of_other_content_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="latin-1")
    with pytest.raises(KdbenchError, match=f"{FILE} is corrupt"):
        read_classes(tmp_path, RECORD)
