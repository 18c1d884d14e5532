"""What a job of SLURM does: cells of a list, one after another, as long as its time allows.

The jobs of an array go through one list; locks keep two from training one cell. A job whose time is up ends at an
epoch's end and goes back into the queue (by submitit's signal), where cells are left.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.plugins import is_foreign_method
from kdbench.running.engines import local
from kdbench.running.engines.events import Event, Failed, Machine, Noticed, Progressed, Stopped, Waiting
from kdbench.running.engines.post import Fatal, Writer
from kdbench.running.engines.travel import Luggage, arrived, difference, unlike
from kdbench.running.engines.work import run_anyhow, run_reporting
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


def write_orders(folder: Path, orders: Orders) -> str:
    """Write the orders of an array; returns their hash, which its jobs carry."""
    (folder / FAILED).mkdir()
    (folder / LIST).write_bytes(pickle.dumps(orders))
    return file_sha256(folder / LIST)


def read_orders(folder: Path, sha256: str) -> Orders:
    """The orders of an array.

    Raises:
        KdbenchError: they are not those that the jobs were submitted with.
    """
    content = (folder / LIST).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise KdbenchError(f"{folder / LIST} is not what these jobs were submitted with. Run the command again.")
    orders: Orders = pickle.loads(content)  # noqa: S301  (of a known hash, before anything is made of it)
    return orders


def work_off(folder: Path, sha256: str, number: int, limit: TimeLimit) -> bool:
    """The work of a job of an array; returns whether it left anything for another time.

    Args:
        sha256: of the array's orders.
    """
    post, where = Writer(folder, str(number)), platform.node()
    try:
        orders = read_orders(folder, sha256)
    except KdbenchError as error:
        post(Fatal(f"{error} (on {where})"))
        return False
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
        cell = arrived(cell, about.root)
        if is_foreign_method(cell.method):
            return self.train_alone(cell, device)
        return run_anyhow(
            lambda how: run_reporting(cell, about.root, device, how, self.report, self.limit, about.stored),
            about.execution,
            device,
            self.report,
        )

    def train_alone(self, cell: Cell, device: torch.device) -> bool:
        """Train a cell of a method that did not come with kdbench, in a process of its own; False as `train`."""
        about = self.orders.luggage
        machine = Machine([str(device)], 1, about.execution, self.limit, about.stored)
        with closing(local.execute([cell], about.root, machine)) as events:
            for event in events:
                if isinstance(event, Waiting):
                    return False
                self.report(event)
        return True

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
