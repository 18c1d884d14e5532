"""Worker processes: what becomes of one whose cell failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdbench.commands.resuming import is_begun
from kdbench.records.store import read_cell
from kdbench.running.engines import local
from kdbench.running.engines.events import Failed, Finished, Machine, Noticed, Progressed, Stopped
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite
from kdbench.training import trainer
from kdbench.training.limit import TimeLimit


def test_a_process_whose_cell_failed_on_a_gpu_takes_no_other_one(
    digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    start = local.start_worker
    monkeypatch.setattr(local, "start_worker", lambda *given: (started.append(given[1]), start(*given))[1])
    cells = plan_cells(digits, {"vanilla": {}}, digits.pairs[:1], [0, 1], {})
    events = list(local.execute(cells, tmp_path, Machine(["cuda:99"], 1)))  # a device that is nowhere
    assert [type(event) for event in events] == [Failed, Failed]
    assert started == ["cuda:99"] * 3


def test_a_cell_of_foreign_code_shares_its_process_with_no_other(
    digits: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = plan_cells(digits, {"vanilla": {}, "mixup": {}}, digits.pairs[:1], [0], {})
    monkeypatch.setattr(local, "is_foreign_method", lambda name: name == "mixup")
    nothing: Any = None

    def after(last: Cell | None) -> local.Worker:
        return local.Worker(nothing, nothing, "cpu", last=last)

    assert after(None).may_train(ours)
    assert after(None).may_train(other)
    assert after(ours).may_train(ours)
    assert not after(ours).may_train(other)
    assert not after(other).may_train(ours)
    assert not after(other).may_train(other)
    crew, sent = [after(other)], []
    fresh = local.Worker(nothing, SimpleNamespace(send=sent.append), "cpu")  # type: ignore[arg-type]
    monkeypatch.setattr(local, "renew", lambda worker, crew, root, machine: fresh)
    local.hand_out(deque([ours]), crew, Path(), Machine(["cpu"], 1), ())
    assert (fresh.cell, sent) == (ours, [(ours, "eager")])


@pytest.mark.parametrize("stored", [True, False])
def test_a_worker_takes_outputs_from_a_store_where_the_machine_does(
    stored: bool, digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))  # which no other test has filled
    teacher = find_teacher(digits, "resnet8", None, print)
    assert teacher is not None
    cells = plan_cells(digits.with_epochs(1), {"kd": {}}, digits.pairs[:1], [0], {"resnet8": teacher})
    events = list(local.execute(cells, tmp_path, Machine(["cpu"], 1, stored=stored)))
    [finished] = [event for event in events if isinstance(event, Finished)]
    [reference] = read_cell(finished.folder).record.teachers
    assert reference.outputs == ("stored" if stored else "live")
    assert any("computed once and kept" in event.text for event in events if isinstance(event, Noticed)) == stored


@pytest.mark.slow
def test_workers_stop_at_their_epochs_end_begin_nothing_new_and_go_on_bit_equal(digits: Suite, tmp_path: Path) -> None:
    cells = plan_cells(digits.with_epochs(40), {"vanilla": {}}, digits.pairs[:1], [0, 1], {})
    limit, events = TimeLimit(600), []
    for event in local.execute(cells, tmp_path / "cut", Machine(["cpu"], 1, limit=limit)):
        events.append(event)
        if isinstance(event, Progressed) and event.epochs_done == 2:
            limit.end_now()
    assert events[-1] == Stopped(cells[0])
    assert {event.cell.seed for event in events if isinstance(event, Progressed)} == {0}
    assert [is_begun(cell, tmp_path / "cut") for cell in cells] == [True, False]
    assert list(local.execute(cells, tmp_path / "cut", Machine(["cpu"], 1, limit=limit))) == []

    *_, again = local.execute(cells[:1], tmp_path / "cut", Machine(["cpu"], 1))
    *_, whole = local.execute(cells[:1], tmp_path / "whole", Machine(["cpu"], 1))
    assert isinstance(again, Finished)
    assert isinstance(whole, Finished)
    assert read_cell(again.folder).record.evidence_sha256 == read_cell(whole.folder).record.evidence_sha256


UNCAPTURED = """
from kdbench.training import capture, trainer
from kdbench_methods.vanilla import Vanilla

def side_stream(device):
    raise capture.CaptureFailed("The step of 'odd' cannot be captured and runs eagerly: not permitted")

trainer.side_stream = side_stream

class Odd(Vanilla):
    name = "odd"
"""


@pytest.mark.slow
def test_a_cell_that_cannot_be_captured_is_trained_eagerly_by_a_fresh_process_as_are_those_like_it(
    digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install_plugin: Callable[..., Path]
) -> None:
    monkeypatch.setattr(trainer, "side_stream", trainer.side_stream)  # which the method replaces in this process too
    install_plugin("theirs", {"odd": "odd_method:Odd"}, odd_method=UNCAPTURED)
    started: list[str] = []
    start = local.start_worker
    monkeypatch.setattr(local, "start_worker", lambda *given: (started.append(given[1]), start(*given))[1])
    cells = plan_cells(digits.with_epochs(1), {"odd": {}}, digits.pairs[:1], [0, 1], {})
    events = list(local.execute(cells, tmp_path / "runs", Machine(["cpu"], 1, "captured")))
    said = [event.text for event in events if isinstance(event, Noticed)]
    assert said == ["The step of 'odd' cannot be captured and runs eagerly: not permitted"]
    assert len(started) == 3  # the refused one, its repetition, and the next: cells of foreign code share no process
    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.cell for event in finished] == cells
    assert all("execution" not in read_cell(event.folder).record.environment for event in finished)
