"""Worker processes: what becomes of one whose cell failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.running.engines import local
from kdbench.running.engines.events import Failed, Machine
from kdbench.running.plan import plan_cells
from kdbench.suite import Suite


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
