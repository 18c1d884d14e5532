"""A submission that several tests share, trained once."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves its folder for the others: `runs`, `results` and the suite."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def ran(trained: Path, tmp_path: Path, here: Command, small_suite: Path) -> Path:
    """A folder with the runs of kd on the small suite, and results that hold its teacher; trained once."""
    if not (trained / "runs").exists():
        assert here("teach", "--suite", small_suite, "--out", "results/small/teachers").returncode == 0
        done = here("run", "-m", "kd", "--suite", small_suite, "--no-mlflow", "--results", "results")
        assert done.returncode == 0, done.stderr
        for name in ("runs", "results"):
            shutil.copytree(tmp_path / name, trained / name)
    else:
        for name in ("runs", "results"):
            shutil.copytree(trained / name, tmp_path / name)
    return tmp_path


@pytest.fixture(autouse=True)
def _board_of_the_small_suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board that takes the small suite, which is nobody's own."""
    if "ran" in request.fixturenames:
        monkeypatch.setattr("kdbench.commands.submit.list_suites", lambda: ["digits", "small"])
