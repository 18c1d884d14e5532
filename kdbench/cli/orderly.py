"""How a command ends: what the user can mend is one line and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from kdbench.console import one_line, printable
from kdbench.errors import KdbenchError, first_line

REMEDIES = {
    errno.EMFILE: "more files are open than this process may have. Raise the limit: ulimit -n 1024",
    errno.ENFILE: "more files are open than this machine allows. End other programs",
    errno.ENAMETOOLONG: "a name is longer than the file system allows. Shorten it",
    errno.ENOSPC: "no space is left to write to. Free some and run the command again: finished cells are kept",
    errno.ENOMEM: "there is not enough memory. Free some, or ask for less at once",
}


def orderly(command: Callable[[], None]) -> None:
    """Run a command, and end this process as it ended.

    Raises:
        SystemExit: 2 for what the user can mend; 130 after Ctrl-C; 141 where nobody reads the output any more.
    """
    open_streams()
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except KdbenchError as error:
        end(str(error), 2)
    except KeyboardInterrupt:
        end("stopped.", 130)
    except BrokenPipeError:
        discard_output()
        sys.exit(141)
    except OSError as error:
        discard_output()
        end(said(error), 2)
    except MemoryError:
        end(f"{REMEDIES[errno.ENOMEM]}.", 2)
    except ImportError as error:  # a library that cannot be loaded says why in words alone
        if (number := next((n for n in REMEDIES if os.strerror(n) in str(error)), None)) is None:
            raise
        end(f"{REMEDIES[number]}.", 2)
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":  # PyTorch's; without importing it
            end("the device is out of memory: free it of other programs, or name another (--device).", 2)
        if "can't allocate memory" not in str(error):
            raise
        end(f"{REMEDIES[errno.ENOMEM]}.", 2)


def said(error: OSError) -> str:
    """An error of the operating system in one line: what it is of, and what to do."""
    what = REMEDIES.get(error.errno or 0, error.strerror or first_line(error))
    return f"{error.filename}: {what}." if error.filename else f"{what}."


def end(text: str, code: int) -> None:
    """Say a line, and end with an exit code."""
    sys.stderr.write(printable(f"kdbench: {text}\n") if len(text) < 4000 else one_line(f"kdbench: {text}") + "\n")
    sys.exit(code)


def open_streams() -> None:
    """Streams that the caller closed lead nowhere; characters that a terminal lacks are written as escapes."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # its number is free: the next file opened would take it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """What is still to be written goes nowhere, since it cannot be written: Python tries again when it ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
