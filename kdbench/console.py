"""Where people read: a terminal, a file or a pipe."""

from __future__ import annotations

import os
from collections.abc import Callable

from rich.console import Console


def open_console(to_stderr: bool = False) -> Console:
    """Standard output; standard error when standard output is for a program."""
    found = Console(stderr=to_stderr)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = 120  # a file or a pipe has no width of its own
    return found


def line_printer(console: Console) -> Callable[[str], None]:
    """Prints a line as it is: not marked up, not wrapped."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
