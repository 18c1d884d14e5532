"""What the gate knows of the built-in methods is what their classes say."""

from __future__ import annotations

from docs.make_built_in import COMMAND, PAGE, page
from kdbench.records.built_in import built_in


def test_the_table_is_what_the_methods_say():
    assert PAGE.read_text(encoding="utf-8") == page(), f"{PAGE.name} is out of date: run {COMMAND}"
    assert "kd" in built_in()
