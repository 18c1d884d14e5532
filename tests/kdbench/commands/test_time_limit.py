"""Commands that stop before all is done, because their time is up or they are told to, and go on later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.records.store import Entry, read_runs

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def evidence(runs: Path) -> dict[str, str | None]:
    """Hashes of the predictions of all records, none of which is corrupt."""
    found = [entry for entry in read_runs(runs) if isinstance(entry, Entry)]
    return {entry.record.key: entry.record.evidence_sha256 for entry in found}


def test_a_limit_shorter_than_the_start_trains_nothing_and_says_so(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    run = ("run", "-m", "kd", "--suite", small_suite, "--no-mlflow", "--time-limit", "0.01s")
    done = here(*run, "--json", KDBENCH_CACHE=cache)
    assert done.returncode == 3, done.stderr
    said = "Not finished: 0 of 4 cells are done, 0 in training, 4 waiting (teachers first: resnet8). Go on: kdbench run"
    assert [line for line in done.stderr.splitlines() if line.startswith(said)]
    assert json.loads(done.stdout)["unfinished"] == 4
    assert not list((tmp_path / "runs").rglob("*.partial"))
    done = here("teach", "--suite", small_suite, "--time-limit", "0.01s", KDBENCH_CACHE=cache)
    assert done.returncode == 3, done.stderr
    assert "Not finished: 0 of 1 teachers are done, 0 in training, 1 waiting. Go on: kdbench teach" in done.stdout


def test_a_record_is_set_aside_when_its_successor_is_complete_and_not_before(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    run = ("run", "-m", "vanilla", "--suite", small_suite, "--no-mlflow")
    assert here(*run).returncode == 0
    before = finished(tmp_path / "runs")
    done = here(*run, "--force", "--time-limit", "0.01s")
    assert done.returncode == 3, done.stderr
    assert "0 of 2 cells are done" in done.stdout
    assert finished(tmp_path / "runs") == before
    assert not list((tmp_path / "runs").rglob("*.aside-*"))
    done = here(*run)  # as the line "Go on" says
    assert done.returncode == 0, done.stderr
    after, asides = finished(tmp_path / "runs"), sorted((tmp_path / "runs").rglob("*.aside-1"))
    assert after.keys() == before.keys()
    assert [path.name for path in asides] == sorted(f"{key[:16]}.aside-1" for key in before)
    assert all(f"set aside as {path.name}" in done.stdout for path in asides)
    assert "2 recorded in runs/small, 0 to train" in here(*run).stdout


def test_a_teacher_that_is_taught_again_is_there_until_its_successor_is(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"

    def teach(*more: str) -> int:
        return here("teach", "--suite", small_suite, *more, KDBENCH_CACHE=str(cache)).returncode

    assert teach() == 0
    [(key, before)] = finished(cache).items()
    assert teach("--force", "--time-limit", "0.01s") == 3
    assert finished(cache) == {key: before}
    assert not list(cache.rglob("*.aside-*"))
    assert teach() == 0
    assert finished(cache).keys() == {key}
    assert [path.name for path in cache.rglob("*.aside-1")] == [f"{key[:16]}.aside-1"]


def finished(runs: Path) -> dict[str, str]:
    """When each record was made, by its key."""
    return {e.record.key: e.record.finished for e in read_runs(runs) if isinstance(e, Entry)}


@pytest.mark.slow
def test_sigterm_in_the_middle_of_an_epoch_loses_nothing(here: Command, small_suite: Path, tmp_path: Path) -> None:
    options = ["run", "-m", "vanilla", "--suite", str(small_suite), "--no-mlflow", "--epochs", "100", "--workers", "1"]
    done = 0.0
    for kill in (os.kill, os.killpg):  # the parent alone, as by hand; all processes, as SLURM does
        process = subprocess.Popen(
            [sys.executable, "-m", "kdbench", *options, "--out", "cut"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None and newest_checkpoint(tmp_path / "cut") <= done:
            time.sleep(0.02)
        kill(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 3, output
        assert "Not finished: 0 of 2 cells are done, 1 in training, 1 waiting. Go on: kdbench run -m vanilla" in output
        assert "Failed" not in output
        done = newest_checkpoint(tmp_path / "cut")
    for out in ("cut", "whole"):
        finished = here(*options, "--out", out)
        assert finished.returncode == 0, finished.stderr
    assert len(evidence(tmp_path / "cut")) == 2
    assert evidence(tmp_path / "cut") == evidence(tmp_path / "whole")


def newest_checkpoint(runs: Path) -> float:
    """When the newest checkpoint of a cell was written; 0 if there is none."""
    return max((path.stat().st_mtime for path in runs.rglob("*.partial/checkpoint-*")), default=0.0)
