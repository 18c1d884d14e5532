"""One cell, in whatever process an engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from kdbench.running.cell import CellFailed, run_cell
from kdbench.running.engines.events import Event, Failed, Finished, Noticed, Progressed, Stopped
from kdbench.running.plan import Cell
from kdbench.tables import Execution
from kdbench.training.capture import CaptureFailed
from kdbench.training.limit import OutOfTime, TimeLimit


def run_reporting(
    cell: Cell,
    root: Path,
    device: torch.device,
    execution: Execution,
    report: Callable[[Event], None],
    limit: TimeLimit | None = None,
    stored: bool = False,
) -> bool:
    """Run a cell and report its events, Finished, Failed or Stopped last.

    Args:
        stored: its teacher's outputs may come from a store.

    Returns:
        False, with no event, if another process is training the cell now.

    Raises:
        CaptureFailed: the step cannot be captured; run the cell again, eagerly and in a fresh process.
        KdbenchError: no further cell could succeed.
    """
    try:
        done = run_cell(
            cell,
            root,
            device,
            on_epoch=lambda *progress: report(Progressed(cell, *progress)),
            notice=lambda text: report(Noticed(text)),
            execution=execution,
            limit=limit,
            stored=stored,
        )
    except CellFailed as error:
        report(Failed(cell, str(error), error.details))
        return True
    except OutOfTime:
        report(Stopped(cell))
        return True
    if done is None:
        return False
    entry, here = done
    report(Finished(cell, entry.folder, here))
    return True


def run_anyhow(
    run: Callable[[Execution], bool], execution: Execution, device: torch.device, report: Callable[[Event], None]
) -> bool:
    """`run_reporting` where no fresh process is at hand: steps that cannot be captured are run eagerly, on a CPU all.

    Args:
        run: runs the cell in the way that it is told.
    """
    try:
        return run("eager" if execution == "captured" and device.type == "cpu" else execution)
    except CaptureFailed as error:
        report(Noticed(str(error)))
        return run("eager")
