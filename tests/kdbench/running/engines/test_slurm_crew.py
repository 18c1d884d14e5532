"""What a job of SLURM does with its list of cells, in this process."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import pytest

from kdbench.hashing import file_sha256
from kdbench.running.engines.events import Event, Failed, Finished, Progressed, Stopped
from kdbench.running.engines.post import Fatal, Reader, Writer
from kdbench.running.engines.slurm_crew import LIST, Member, Orders, read_orders, work_off, write_orders
from kdbench.running.engines.travel import pack
from kdbench.running.plan import Cell, plan_cells
from kdbench.suite import Suite
from kdbench.training.limit import TimeLimit


@pytest.fixture
def cells(digits: Suite) -> list[Cell]:
    return plan_cells(digits.with_epochs(3), {"vanilla": {}}, digits.pairs[:1], [0, 1], {})


def member(folder: Path, cells: list[Cell], number: int, limit: TimeLimit | None = None) -> Member:
    """A job of an array in a folder."""
    if not folder.exists():
        folder.mkdir()
        write_orders(folder, Orders(pack(cells, folder.parent / "runs", "cpu", "eager", False), cells))
    return Member(
        folder,
        read_orders(folder, file_sha256(folder / LIST)),
        Writer(folder, str(number)),
        limit or TimeLimit(),
        "node7",
    )


def events(folder: Path, cells: list[Cell]) -> list[Event | Fatal]:
    return list(Reader(folder, {cell.key: cell for cell in cells}).new())


class Boobytrap:
    """Says so when it is made of its pickle."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("sprung",)


def test_orders_that_somebody_changed_are_not_read(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "array"
    folder.mkdir()
    sha256 = write_orders(folder, Orders(pack(cells, tmp_path / "runs", "cpu", "eager", False), cells))
    assert read_orders(folder, sha256).cells == cells
    (folder / LIST).write_bytes(pickle.dumps(Boobytrap()))
    assert not work_off(folder, sha256, 0, TimeLimit())
    [said] = events(folder, cells)
    assert isinstance(said, Fatal)
    assert "is not what these jobs were submitted with" in said.message
    assert not (tmp_path / "sprung").exists()


def test_jobs_train_every_cell_once_and_say_where(cells: list[Cell], tmp_path: Path) -> None:
    folder = tmp_path / "array"
    first, second = member(folder, cells, 0), member(folder, cells, 1)
    assert not first.work()
    assert not second.work()
    said = events(folder, cells)
    assert sorted(e.cell.seed for e in said if isinstance(e, Finished) and e.here) == [0, 1]
    assert {e.where for e in said if isinstance(e, Progressed)} == {"node7"}


def test_time_that_is_up_leaves_a_checkpoint_and_the_rest(cells: list[Cell], tmp_path: Path) -> None:
    folder, limit = tmp_path / "array", TimeLimit(600)
    job = member(folder, cells, 0, limit)
    post = job.post

    def end_after_an_epoch(event: Event | Fatal) -> None:
        post(event)
        if isinstance(event, Progressed) and event.epochs_done == 1:
            limit.end_now()

    job.post = end_after_an_epoch  # type: ignore[assignment]
    assert job.work()
    assert [type(e) for e in events(folder, cells)] == [Progressed, Progressed, Stopped]
    assert not member(folder, cells, 0).work()
    ends = [e for e in events(folder, cells) if isinstance(e, Finished)]
    assert [e.cell.seed for e in ends] == [0, 1]


def test_a_cell_that_failed_is_not_tried_by_the_next_job(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdbench_methods.vanilla import Vanilla

    def fail(*given: object) -> None:
        raise ValueError("not today")

    monkeypatch.setattr(Vanilla, "loss", fail)
    folder = tmp_path / "array"
    assert not member(folder, cells, 0).work()
    assert not member(folder, cells, 1).work()
    failed = [e for e in events(folder, cells) if isinstance(e, Failed)]
    assert [e.cell.seed for e in failed] == [0, 1]
    assert "Traceback" in failed[0].details


def test_a_full_file_system_ends_all_with_one_line(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kdbench.records.store.sync", full)
    folder = tmp_path / "array"
    assert not member(folder, cells, 0).work()
    last = events(folder, cells)[-1]
    assert isinstance(last, Fatal)
    assert "the disk is full" in last.message
    assert last.message.endswith("(on node7)")
