"""Nothing that a terminal would obey comes of foreign text, however it is printed."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from kdbench.console import Clean, line_printer, one_line, printable

HOSTILE = "a\x1b[2J\x07b\u202ec\udcffd\x9b31m\x00"


def test_printed_text_has_no_character_that_a_terminal_obeys() -> None:
    console = Clean(file=io.StringIO(), width=200)
    line_printer(console)(HOSTILE)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count("[2J") == 4  # as text, in the line, title, head and row
    assert all(c.isprintable() or c == "\n" for c in said)
    said.encode("utf-8")


def test_colours_of_our_own_stay() -> None:
    console = Clean(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print("[red]x[/red]")
    assert "\x1b[31m" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["ü – ≈ ▲ 学\u00a0x", "a\tb\nc"])
def test_honest_text_stays(text: str) -> None:
    assert printable(text) == text


def test_a_line_is_one_and_of_bounded_length() -> None:
    said = one_line("x\ny" + "z" * 5000)
    assert said.isprintable()
    assert len(said) < 500
