"""Errors that a user can mend.

    Exception
    ├── KdbenchError      what is wrong, where, and what to do, in one line; the command ends with exit code 2
    └── NotApplicable     raised by a method that cannot serve a pair; recorded with its reason, not a failure

Everything else that a training raises fails its cell alone: the others go on, and the command ends with exit code 1.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class KdbenchError(Exception):
    """What the user can mend. The message is one line: what is wrong, where, what to do."""

    def __init__(self, message: str) -> None:
        """A message whose quoted part has an end of its own needs no further full stop."""
        ended = message.endswith(("?.", "..")) and not message.endswith("...")
        super().__init__(message[:-1] if ended else message)


class NotApplicable(Exception):
    """A method cannot serve this pair of networks. The message is the reason that the record shows."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for a name close to a known one, else the list of what is known, if it is short."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(known)}." if 0 < len(known) <= 20 else ""


def first_line(error: Exception) -> str:
    """What an error of another library says first, without its full stop; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def writing(path: Path, remedy: str = "Choose another folder with --out") -> Iterator[None]:
    """Turn a failed write below `path` into one line that says what to do.

    Args:
        remedy: what the command can do beside mending the permissions; empty where there is nothing.

    Raises:
        KdbenchError: the disk is full, the folder is read-only, or another error of the operating system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            todo = "the disk is full. Free some space and run the command again: finished cells are kept."
        else:
            mend = f"{remedy}, or mend its permissions" if remedy else "Mend its permissions"
            todo = f"{error.strerror or error}. {mend}."
        raise KdbenchError(f"Cannot write to {path}: {todo}") from error


def first_problem(error: ValidationError) -> str:
    """The most telling problem that pydantic found, as 'key: what is wrong': an unknown key before a missing one."""
    problems = error.errors(include_url=False, include_context=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}'. Remove it or correct its name"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    given = "" if isinstance(problem["input"], dict) else f", not {problem['input']!r:.60}"
    return f"{where}: {message}{given}" if where else message
