"""Where people read: a terminal, a file or a pipe."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

Notice = Callable[[str], None]  # tells the user a line


def open_console(to_stderr: bool = False) -> Console:
    """Standard output; standard error when standard output is for a program."""
    found = Console(stderr=to_stderr)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = 120  # a file or a pipe has no width of its own
    return found


def line_printer(console: Console) -> Notice:
    """Prints a line as it is: not marked up, not wrapped."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def write_json(value: Any) -> None:
    """JSON on standard output, in one line, for a program.

    Raises:
        ValueError: a number that is not finite.
    """
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
