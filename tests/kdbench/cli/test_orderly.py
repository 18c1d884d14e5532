"""A command ends with a line and an exit code, whatever the system says."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from typing import Any

import pytest

from kdbench.cli.orderly import orderly
from kdbench.errors import KdbenchError


def raising(error: BaseException) -> Any:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KdbenchError("no \x1b[2J suite"), 2, "no \N{REPLACEMENT CHARACTER}[2J suite"),
        (KeyboardInterrupt(), 130, "stopped"),
        (PermissionError(errno.EACCES, "Permission denied", "results"), 2, "results: Permission denied."),
        (OSError(errno.EMFILE, "Too many open files", "x"), 2, "ulimit -n"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 260), 2, "Shorten it"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "no space is left"),
        (MemoryError(), 2, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "not enough memory"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), 2, "ulimit -n"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.cli.orderly.discard_output", lambda: None)  # pytest's own output goes on
    with pytest.raises(SystemExit) as ended:
        orderly(raising(error))
    assert ended.value.code == code
    lines = capsys.readouterr().err
    assert said in lines
    assert lines.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("a mistake of ours"), ImportError("no module x"), ValueError()])
def test_a_mistake_of_the_program_is_not_hidden(error: Exception) -> None:
    with pytest.raises(type(error)):
        orderly(raising(error))


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_output_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("kdbench.cli.orderly.discard_output", lambda: None)
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(SystemExit) as ended:
        orderly(lambda: None)
    assert ended.value.code == 2
    assert "no space is left" in capsys.readouterr().err


@pytest.mark.parametrize(("output", "code"), [(">/dev/full", 2), (">&-", 0), ("| true", 0)])
def test_a_shell_sees_no_traceback(output: str, code: int) -> None:
    command = f"{sys.executable} -m kdbench list suites {output}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.count("\n") == (code == 2)
