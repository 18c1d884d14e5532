"""Cells in worker processes on this machine.

Each worker is a process of its own, which takes a cell, reports on it and asks for the next. A worker that dies costs
its own cell alone, and one whose cell failed on a GPU is replaced; workers die with their parent. A method whose step
cannot be captured is trained eagerly from then on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from kdbench.environment import available_cores, share_cores
from kdbench.errors import KdbenchError
from kdbench.plugins import is_foreign_method
from kdbench.running.engines.events import Event, Failed, Finished, Machine, Noticed, Stopped, Waiting
from kdbench.running.plan import Cell

BUSY_PAUSE = 0.3  # seconds before asking again for a cell that another process trains


@dataclass(frozen=True)
class Busy:
    """Another process trains the cell."""


@dataclass(frozen=True)
class Fatal:
    """No further cell could succeed."""

    message: str


@dataclass(frozen=True)
class Uncaptured:
    """The cell's step cannot be captured, and the process may be unable to go on."""

    message: str


Message = Event | Busy | Fatal | Uncaptured  # of a worker to its parent


@dataclass
class Worker:
    """The parent's side of a worker process; `cell` is what it trains now, `last` what it trained last."""

    process: BaseProcess
    pipe: Connection
    device: str
    cell: Cell | None = None
    last: Cell | None = None

    def may_train(self, cell: Cell) -> bool:
        """Whether the process is fresh, or both cells are of methods that came with kdbench."""
        return self.last is None or not (is_foreign_method(cell.method) or is_foreign_method(self.last.method))


def execute(cells: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
    """The engine."""
    if not machine.limit.suffices():
        return
    todo = deque(cells)
    busy_elsewhere: deque[Cell] = deque()
    eager: set[str] = set()  # methods that cannot be captured
    crew: list[Worker] = []
    try:
        for k in range(min(machine.workers, len(cells))):
            crew.append(start_worker(root, machine.devices[k % len(machine.devices)], machine))  # noqa: PERF401
        while todo or busy_elsewhere or any(worker.cell for worker in crew):
            if has_time := machine.limit.suffices():
                hand_out(todo, crew, root, machine, eager)
            training = {worker.pipe: worker for worker in crew if worker.cell}
            if not training:
                if not has_time:
                    return
                yield Waiting(len(busy_elsewhere))
                time.sleep(BUSY_PAUSE)
                todo, busy_elsewhere = busy_elsewhere, deque()
                continue
            for pipe in wait(list(training)):
                worker = training[cast(Connection, pipe)]
                cell, message = worker.cell, receive(worker)
                assert cell is not None
                match message:
                    case Fatal(said):
                        raise KdbenchError(said)
                    case Busy():
                        busy_elsewhere.append(cell)
                    case Uncaptured(said):
                        eager.add(cell.method)
                        todo.appendleft(cell)
                        yield Noticed(said)
                    case _:
                        yield message
                if isinstance(message, Finished | Failed | Stopped | Busy | Uncaptured):
                    worker.cell, worker.last = None, cell
                if not is_usable(worker, message):
                    renew(worker, crew, root, machine)
    finally:
        for worker in crew:
            worker.process.kill()
        for worker in crew:
            worker.process.join()


def renew(worker: Worker, crew: list[Worker], root: Path, machine: Machine) -> Worker:
    """A fresh process in the place of a worker's."""
    worker.process.kill()
    worker.process.join()
    crew[crew.index(worker)] = fresh = start_worker(root, worker.device, machine)
    return fresh


def hand_out(todo: deque[Cell], crew: list[Worker], root: Path, machine: Machine, eager: Collection[str]) -> None:
    """A cell for each worker that has none, while there are some."""
    for idle in [worker for worker in crew if worker.cell is None]:
        if todo:
            worker = idle if idle.may_train(todo[0]) else renew(idle, crew, root, machine)
            worker.cell = todo.popleft()
            execution = "eager" if worker.cell.method in eager else machine.execution
            with suppress(ConnectionError):  # a worker that died meanwhile is found by its closed pipe
                worker.pipe.send((worker.cell, execution))


def receive(worker: Worker) -> Message:
    """What a worker says; that its cell failed, if it died, or stopped, if it was told to before it could listen."""
    try:
        message: Message = worker.pipe.recv()
        return message
    except (EOFError, ConnectionError):
        worker.process.join()
        assert worker.cell is not None
        if worker.process.exitcode == -signal.SIGTERM:
            return Stopped(worker.cell)
        return Failed(worker.cell, f"its process died ({exit_reason(worker.process.exitcode)})", "")


def is_usable(worker: Worker, message: Message) -> bool:
    """Whether a worker takes another cell after a message: it lives, and its device did not fail it."""
    if isinstance(message, Uncaptured):
        return False
    if isinstance(message, Failed) and worker.device != "cpu":
        return False  # some errors end a GPU's use for a process
    return not isinstance(message, Failed | Stopped) or worker.process.exitcode is None


def exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}; out of memory?" if name == "SIGKILL" else name
    return f"exit code {code}"


def start_worker(root: Path, device: str, machine: Machine) -> Worker:
    context = multiprocessing.get_context("spawn")
    pipe, child_pipe = context.Pipe()
    process = context.Process(target=work, args=(child_pipe, root, device, machine))
    process.start()
    child_pipe.close()
    return Worker(process, pipe, device)


def work(pipe: Connection, root: Path, device_name: str, machine: Machine) -> None:
    """A worker process: cells in, messages out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a job's processes all get it; the parent's limit ends for all
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()

    share_cores(machine.workers)

    import torch

    from kdbench.running.engines.work import run_reporting
    from kdbench.training.capture import CaptureFailed

    torch.set_num_threads(available_cores())
    device = torch.device(device_name)
    while True:
        cell, execution = pipe.recv()
        try:
            if not run_reporting(cell, root, device, execution, pipe.send, machine.limit, machine.stored):
                pipe.send(Busy())
        except CaptureFailed as error:
            pipe.send(Uncaptured(str(error)))
        except KdbenchError as error:
            pipe.send(Fatal(str(error)))
