"""Running cells in worker processes. What a cell is, and what becomes of its record, is not known here.

Each worker is a process of its own, which takes a cell, reports on it and asks for the next. A worker that dies costs
its own cell alone, and one whose cell failed on a GPU is replaced; workers die with their parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from kdbench.errors import KdbenchError
from kdbench.running.plan import Cell
from kdbench.suite import Execution

BUSY_PAUSE = 0.3  # seconds before asking again for a cell that another process trains


@dataclass(frozen=True)
class Progressed:
    """A cell's training began or went on (then `loss` is None), or an epoch ended; `loss` is its mean."""

    cell: Cell
    epochs_done: int
    epochs: int
    loss: float | None


@dataclass(frozen=True)
class Finished:
    """A cell's record is on disk; `here` unless another run made it meanwhile."""

    cell: Cell
    folder: Path
    here: bool


@dataclass(frozen=True)
class Waiting:
    """The cells that are left are being trained by another run."""

    cells: int


@dataclass(frozen=True)
class Failed:
    """A cell ended without a result; `details` is the traceback."""

    cell: Cell
    message: str
    details: str


@dataclass(frozen=True)
class Noticed:
    """Something that the user should know, in one line."""

    text: str


Event = Progressed | Finished | Waiting | Failed | Noticed


@dataclass
class Worker:
    """The parent's side of a worker process; `cell` is what it trains now."""

    process: BaseProcess
    pipe: Connection
    device: str
    cell: Cell | None = None


@dataclass(frozen=True)
class Machine:
    """Where and how cells are trained: `workers` processes, worker k on device k modulo their number."""

    devices: Sequence[str]
    workers: int
    execution: Execution = "eager"

    def __str__(self) -> str:
        how = "" if self.execution == "eager" else f", steps {self.execution}"
        return f"{', '.join(self.devices)}, {self.workers} at a time{how}"


def execute(cells: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
    """Run cells on a machine, and yield what happens.

    Closing the iterator ends the workers at once; what they were training resumes from its last checkpoint.

    Raises:
        KdbenchError: a folder that cannot be written, a full disk: no further cell could succeed.
    """
    todo = deque(cells)
    busy_elsewhere: deque[Cell] = deque()
    crew = [
        start_worker(root, machine.devices[k % len(machine.devices)], machine.execution)
        for k in range(min(machine.workers, len(cells)))
    ]
    try:
        while todo or busy_elsewhere or any(worker.cell for worker in crew):
            for worker in crew:
                if worker.cell is None and todo:
                    worker.cell = todo.popleft()
                    with suppress(ConnectionError):  # a worker that died meanwhile is found by its closed pipe
                        worker.pipe.send(worker.cell)
            training = {worker.pipe: worker for worker in crew if worker.cell}
            if not training:
                yield Waiting(len(busy_elsewhere))
                time.sleep(BUSY_PAUSE)
                todo, busy_elsewhere = busy_elsewhere, deque()
                continue
            for pipe in wait(list(training)):
                worker = training[cast(Connection, pipe)]
                assert worker.cell is not None
                try:
                    kind, value = worker.pipe.recv()
                except (EOFError, ConnectionError):
                    worker.process.join()
                    yield Failed(worker.cell, f"its process died ({exit_reason(worker.process.exitcode)})", "")
                    crew[crew.index(worker)] = start_worker(root, worker.device, machine.execution)
                    continue
                if kind == "fatal":
                    raise KdbenchError(value)
                if kind == "busy":
                    busy_elsewhere.append(worker.cell)
                else:
                    yield event(kind, worker.cell, value)
                if kind in ("finished", "failed", "busy"):
                    worker.cell = None
                if kind == "failed" and worker.device != "cpu":  # some errors end a device's use for a process
                    worker.process.kill()
                    worker.process.join()
                    crew[crew.index(worker)] = start_worker(root, worker.device, machine.execution)
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()


def event(kind: str, cell: Cell, value: Any) -> Event:
    """What a worker's message means."""
    if kind == "progressed":
        return Progressed(cell, *value)
    if kind == "finished":
        return Finished(cell, *value)
    if kind == "failed":
        return Failed(cell, *value)
    return Noticed(value)


def exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}; out of memory?" if name == "SIGKILL" else name
    return f"exit code {code}"


def start_worker(root: Path, device: str, execution: Execution) -> Worker:
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=work, args=(child_pipe, root, device, execution))
    process.start()
    child_pipe.close()
    return Worker(process, pipe, device)


def work(pipe: Connection, root: Path, device_name: str, execution: Execution) -> None:
    """A worker process: cells in, messages out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()

    import torch

    from kdbench.running.cell import CellFailed, run_cell

    device = torch.device(device_name)
    while True:
        cell = pipe.recv()
        try:
            done = run_cell(
                cell,
                root,
                device,
                on_epoch=lambda *progress: pipe.send(("progressed", progress)),
                notice=lambda text: pipe.send(("noticed", text)),
                execution=execution,
            )
            pipe.send(("busy", None) if done is None else ("finished", (done[0].folder, done[1])))
        except CellFailed as error:
            pipe.send(("failed", (str(error), error.details)))
        except KdbenchError as error:
            pipe.send(("fatal", str(error)))
