"""What a job of SLURM does: cells of a list, one after another, as long as its time allows.

The jobs of an array go through one list; locks keep two from training one cell. A job whose time is up ends at an
epoch's end and goes back into the queue (by submitit's signal), where cells are left.
"""

from __future__ import annotations

import os
import pickle
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdbench.errors import KdbenchError
from kdbench.running.engines.events import Event, Failed, Noticed, Progressed, Stopped
from kdbench.running.engines.post import Fatal, Writer
from kdbench.running.engines.travel import Luggage, arrived, difference, unlike
from kdbench.running.engines.work import run_anyhow
from kdbench.running.plan import Cell, find_recorded
from kdbench.training.limit import TimeLimit

LIST, FAILED = "cells.pickle", "failed"  # in the folder of an array


@dataclass(frozen=True)
class Orders:
    """What the jobs of an array are given.

    Attributes:
        cells: the longest first.
    """

    luggage: Luggage
    cells: Sequence[Cell]


def write_orders(folder: Path, orders: Orders) -> None:
    (folder / FAILED).mkdir()
    (folder / LIST).write_bytes(pickle.dumps(orders))


def read_orders(folder: Path) -> Orders:
    """The orders of an array, which this user's own command has written."""
    orders: Orders = pickle.loads((folder / LIST).read_bytes())  # noqa: S301
    return orders


def work_off(folder: Path, number: int, limit: TimeLimit) -> bool:
    """The work of a job of an array; returns whether it left anything for another time."""
    orders, post, where = read_orders(folder), Writer(folder, str(number)), platform.node()
    os.environ.update(orders.luggage.environment)
    if problem := difference(orders.luggage, where):
        post(Fatal(problem))
        return False
    if remark := unlike(orders.luggage, where):
        post(Noticed(remark))
    return Member(folder, orders, post, limit, where).work()


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
        return run_anyhow(arrived(cell, about.root), *given)

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
