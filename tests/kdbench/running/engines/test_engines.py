"""The seam for engines: any function that runs cells and yields what happens will do."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console

from kdbench.errors import KdbenchError
from kdbench.running import engines
from kdbench.running.engines import load_engine
from kdbench.running.engines.events import Event, Finished, Machine, Progressed
from kdbench.running.engines.work import run_reporting
from kdbench.running.fleet import Outcome, train
from kdbench.running.plan import Cell, plan_cells
from kdbench.suite import Suite

seen: list[Event] = []


def one_after_another(cells: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
    """An engine without any process of its own."""
    for cell in cells:
        seen.clear()
        run_reporting(cell, root, torch.device(machine.devices[0]), machine.execution, seen.append)
        yield from seen


def test_cells_are_trained_by_whatever_engine_is_asked_for(
    digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("my_engines")
    module.execute = one_after_another  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_engines", module)
    monkeypatch.setitem(engines.ENGINES, "mine", "my_engines:execute")
    [cell] = plan_cells(digits.with_epochs(2), {"vanilla": {}}, digits.pairs[:1], [0], {})
    outcome = Outcome()
    train([cell], tmp_path, Machine(["cpu"], 1, engine="mine"), Console(quiet=True), outcome)
    assert [type(event) for event in seen] == [Progressed] * 3 + [Finished]
    assert outcome.failures == []
    assert outcome.entries[cell.key].record.key == cell.key


def test_an_unknown_engine_is_named_with_the_one_that_is_meant() -> None:
    with pytest.raises(KdbenchError, match=r"Unknown engine 'locl' \(--engine\)\. Did you mean 'local'"):
        load_engine("locl")


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_without_its_package_says_how_to_install_it(
    engine: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = f"--engine {engine} needs the package {package}. Install it: pip install 'kdbench[{engine}]'"
    with pytest.raises(KdbenchError, match=re.escape(said)):
        load_engine(engine)
