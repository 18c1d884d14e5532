"""Where people read: a terminal, a file or a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

Notice = Callable[[str], None]  # tells the user a line


def open_console(to_stderr: bool = False) -> Console:
    """Standard output; standard error when standard output is for a program."""
    found = Clean(stderr=to_stderr)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = 120  # a file or a pipe has no width of its own
    return found


def printable(text: str, most: int | None = None) -> str:
    """Text without what a terminal would obey: control characters, changed directions, halves of characters.

    Args:
        most: how long it may be; what is cut off is marked.
    """
    clean = "".join(c if c.isprintable() or c in " \n\t\u00a0" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if most is None or len(clean) <= most else clean[:most] + "..."


def one_line(text: str) -> str:
    """The same in one line of bounded length, whatever a record says."""
    return printable(text.replace("\n", "\x00").replace("\t", " "), 400)


class Clean(Console):
    """Whatever is printed is printable, wherever its words come from."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else Segment(printable(part.text), part.style)


def line_printer(console: Console) -> Notice:
    """Prints a line as it is: not marked up, not wrapped."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def write_json(value: Any) -> None:
    """JSON on standard output, in one line, for a program.

    Raises:
        ValueError: a number that is not finite.
    """
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
