"""What a job of SLURM does: cells of a list, one after another, as long as its time allows.

The jobs of an array go through one list; locks keep two from training one cell. A job whose time is up ends at an
epoch's end and goes back into the queue (by submitit's signal), where cells are left.
"""

from __future__ import annotations

import os
import pickle
import platform
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from submitit.helpers import Checkpointable

from kdbench.errors import KdbenchError
from kdbench.running.engines.events import Event, Failed, Noticed, Progressed, Stopped
from kdbench.running.engines.post import Fatal, Writer
from kdbench.running.engines.travel import Luggage, arrived, difference, unlike
from kdbench.running.engines.work import run_reporting
from kdbench.running.plan import Cell, find_recorded
from kdbench.training.limit import TimeLimit

LIST, FAILED = "cells.pickle", "failed"  # in the folder of an array
CLOSING = 30.0  # seconds at most, and a tenth of a job's time, for its end


@dataclass(frozen=True)
class Orders:
    """What the jobs of an array are given.

    Attributes:
        cells: the longest first.
        seconds: of a job, as the parent asked for.
    """

    luggage: Luggage
    cells: Sequence[Cell]
    seconds: float


def write_orders(folder: Path, orders: Orders) -> None:
    (folder / FAILED).mkdir()
    (folder / LIST).write_bytes(pickle.dumps(orders))


def read_orders(folder: Path) -> Orders:
    """The orders of an array, which this user's own command has written."""
    orders: Orders = pickle.loads((folder / LIST).read_bytes())  # noqa: S301
    return orders


class Crew(Checkpointable):  # type: ignore[misc]
    """The jobs of an array, as submitit calls them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> None:
        orders, post, where = read_orders(self.folder), Writer(self.folder, str(number)), platform.node()
        os.environ.update(orders.luggage.environment)
        if problem := difference(orders.luggage, where):
            post(Fatal(problem))
            return
        if remark := unlike(orders.luggage, where):
            post(Noticed(remark))
        limit = job_limit(orders.seconds)
        with_signals(limit, lambda: Member(self.folder, orders, post, limit, where).work())


def job_limit(seconds: float) -> TimeLimit:
    """Until shortly before SLURM ends this job."""
    end = float(os.environ.get("SLURM_JOB_END_TIME") or time.time() + seconds)
    return TimeLimit(end - time.time() - min(CLOSING, seconds / 10))


def with_signals(limit: TimeLimit, work: Callable[[], bool]) -> None:
    """Work until it is done, or until SLURM says that the job's time is up or that it is cancelled.

    Args:
        work: returns whether it left anything for another time.
    """
    time_is_up = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
    cancelled: list[Any] = []
    signal.signal(signal.SIGTERM, lambda *given: (cancelled.append(given), limit.end_now()))
    requeue = signal.signal(time_is_up, lambda *given: limit.end_now())
    try:
        left = work()
    finally:
        signal.signal(time_is_up, requeue)
    if left and not cancelled:
        signal.raise_signal(time_is_up)  # submitit's handler has the job queued again


@dataclass
class Member:
    """One job at its work."""

    folder: Path
    orders: Orders
    post: Writer
    limit: TimeLimit
    where: str
    stopped: bool = False

    def work(self) -> bool:
        """Train what nobody has trained or trains; returns whether time was up before."""
        left, before = list(self.orders.cells), -1
        while len(left) != before:  # what others held may be free now
            before = len(left)
            for cell in list(left):
                if not self.limit.suffices():
                    return True
                try:
                    if self.is_done(cell) or self.train(cell):
                        left.remove(cell)
                except KdbenchError as error:
                    self.post(Fatal(f"{error} (on {self.where})"))
                    return False
                if self.stopped:
                    return True
        return False

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell has a record, or failed in a job of this array."""
        root = self.orders.luggage.root
        if (self.folder / FAILED / cell.key).exists():
            return True
        return cell.folder(root).exists() and bool(find_recorded([cell], root, lambda text: None))

    def train(self, cell: Cell) -> bool:
        """Train a cell; False if it is in other hands."""
        about = self.orders.luggage
        device = torch.device(chosen(about.device))
        given = about.root, device, about.execution, self.report, self.limit, about.stored
        return run_reporting(arrived(cell, about.root), *given)

    def report(self, event: Event) -> None:
        self.stopped = self.stopped or isinstance(event, Stopped)
        if isinstance(event, Failed):
            (self.folder / FAILED / event.cell.key).touch()
        self.post(replace(event, where=self.where) if isinstance(event, Progressed) else event)


def chosen(device: str) -> str:
    """`cuda` where SLURM gave the job a GPU; it shows it no others."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
