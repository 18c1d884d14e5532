"""Cells as tasks of a Ray cluster: the one that runs, or one on this machine that ends with the command.

Ray places the tasks. A cell whose worker is lost goes on elsewhere from its last checkpoint, which lies in the folder
of the records; that folder is shared by all computers. Options: `address`, `cpus` and `gpus` of a cell (0.5: two
cells on a GPU).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kdbench.errors import KdbenchError, first_line
from kdbench.plugins import is_foreign_method
from kdbench.running.engines.events import Event, Failed, Machine, Noticed, Progressed, Waiting
from kdbench.running.engines.ray_cluster import (
    check_options,
    chosen_device,
    cluster,
    label,
    last_line,
    look_around,
    needs,
)
from kdbench.running.engines.travel import Luggage, arrived, pack
from kdbench.running.engines.work import run_anyhow, run_reporting
from kdbench.running.plan import Cell
from kdbench.training.limit import TimeLimit

RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU"}  # what a task asks for, and what a cluster has of it
POLL = 0.5  # seconds between two looks at what the workers report
LOSSES = 3  # workers that a cell may lose before it counts as what kills them


@dataclass(frozen=True)
class Answer:
    """How a task ended: the cell is done (it was reported), another run trains it, or no further cell could succeed."""

    busy: bool = False
    fatal: str = ""


class Mailbox:
    """The actor beside the parent that workers report to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.over = False

    def put(self, event: Event) -> bool:
        """Keep an event; returns whether trainings are to stop at their epoch's end."""
        self.events.append(event)
        return self.over

    def take(self) -> list[Event]:
        taken, self.events = self.events, []
        return taken

    def end(self) -> None:
        self.over = True


def train_there(cell: Cell, luggage: Luggage, mailbox: Any, seconds: float, epoch: float) -> Answer:
    """A cell, on the computer that Ray chose.

    Args:
        seconds: that are left; `epoch` is how many one takes, as far as that is known.
    """
    limit, where = TimeLimit(seconds), label(ray.get_runtime_context().get_node_id())
    limit.learn(epoch)

    def report(event: Event) -> None:
        said = replace(event, where=where) if isinstance(event, Progressed) else event
        if ray.get(mailbox.put.remote(said)):
            limit.end_now()

    device = torch.device(luggage.device)
    cell = arrived(cell, luggage.root)
    try:
        done = run_anyhow(
            lambda how: run_reporting(cell, luggage.root, device, how, report, limit, luggage.stored),
            luggage.execution,
            device,
            report,
        )
        return Answer(busy=not done)
    except KdbenchError as error:
        return Answer(fatal=f"{error} (on {where})")


def train_alone(cell: Cell, luggage: Luggage, mailbox: Any, seconds: float, epoch: float) -> Answer:
    """The same, for Ray under another name: each has its own limit of calls a process."""
    return train_there(cell, luggage, mailbox, seconds, epoch)


def execute(cells: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
    """The engine."""
    if not machine.limit.suffices():
        return
    check_options(machine)
    with cluster(machine):
        device = chosen_device(machine)
        luggage = pack(cells, root, device, machine.execution, machine.stored)
        run = Run(machine, luggage, needs(machine, device))
        if not run.slots():
            raise KdbenchError(f"The Ray cluster has no room for a cell ({run.wanted}): start computers that have it.")
        try:
            yield from look_around(cells, luggage, run.runtime)
            yield from run.events(cells)
        except RayError as error:
            said = f"The Ray cluster is gone: {first_line(error)}. Run the command again once it is there."
            raise KdbenchError(said) from error
        finally:
            for task in run.tasks:
                with suppress(RayError):
                    ray.cancel(task, force=True)


@dataclass
class Run:
    """The parent's side of the tasks.

    Attributes:
        wanted: what a cell takes, in Ray's names.
        tasks: the cells in training, by the reference that Ray gives.
        lost: how many workers each cell lost, by key.
        heard: when and from where a cell was heard of last, by key.
        mailbox: the actor that workers report to; `task` is what they run, `alone` the same in a process that ends with
            it, for a method that did not come with kdbench.
    """

    machine: Machine
    luggage: Luggage
    wanted: dict[str, float]
    tasks: dict[Any, Cell] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    heard: dict[str, tuple[float, str]] = field(default_factory=dict)
    mailbox: Any = None
    task: Any = None
    alone: Any = None

    @property
    def runtime(self) -> dict[str, Any]:
        """The environment of the workers."""
        return {"env_vars": dict(self.luggage.environment)}

    def slots(self) -> int:
        """How many cells there is room for at a time."""
        there = ray.cluster_resources()
        room = [there.get(RESOURCES[name], 0) / need for name, need in self.wanted.items()]
        return min([int(min(room)), *([self.machine.workers] if self.machine.workers else [])])

    def events(self, cells: Sequence[Cell]) -> Iterator[Event]:
        """Train cells, as many at a time as there is room for.

        Raises:
            KdbenchError: no further cell could succeed.
        """
        beside = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = ray.remote(num_cpus=0, scheduling_strategy=beside)(Mailbox).remote()
        about = {"max_retries": 0, "runtime_env": self.runtime, **self.wanted}
        self.task = ray.remote(**about)(train_there)
        self.alone = ray.remote(max_calls=1, **about)(train_alone)
        todo, busy, limit = deque(cells), deque[Cell](), self.machine.limit
        while todo or busy or self.tasks:
            while todo and limit.suffices() and len(self.tasks) < max(self.slots(), 1):
                self.submit(todo.popleft())
            if not self.tasks:
                if not limit.suffices():
                    return
                yield Waiting(len(busy))
                time.sleep(POLL)
                todo, busy = busy, deque()
                continue
            ended, _ = ray.wait(list(self.tasks), timeout=POLL)
            if limit.left() <= 0:
                self.mailbox.end.remote()
            yield from self.reports()
            for task in ended:
                cell = self.tasks.pop(task)
                yield from self.answer(cell, task, todo, busy)

    def submit(self, cell: Cell) -> None:
        """Give a cell to Ray."""
        limit = self.machine.limit
        task = self.alone if is_foreign_method(cell.method) else self.task
        self.tasks[task.remote(cell, self.luggage, self.mailbox, limit.left(), limit.epoch())] = cell

    def reports(self) -> Iterator[Event]:
        """What the workers have said since; how long their epochs take is noted."""
        for event in ray.get(self.mailbox.take.remote()):
            if isinstance(event, Progressed):
                now = time.monotonic()
                if event.loss is not None and event.cell.key in self.heard:
                    self.machine.limit.learn(now - self.heard[event.cell.key][0])
                self.heard[event.cell.key] = now, event.where
            yield event

    def answer(self, cell: Cell, task: Any, todo: deque[Cell], busy: deque[Cell]) -> Iterator[Event]:
        """What becomes of a cell whose task has ended.

        Raises:
            KdbenchError: no further cell could succeed.
        """
        try:
            said: Answer = ray.get(task)
        except RayTaskError as error:
            yield Failed(cell, last_line(error), str(error))
        except TaskCancelledError:
            return
        except RayError as error:
            self.lost[cell.key] += 1
            if self.lost[cell.key] < LOSSES:
                where = self.heard.get(cell.key, (0.0, "a computer"))[1]
                yield Noticed(
                    f"{cell}: {where} was lost ({type(error).__name__}); it goes on from its last checkpoint."
                )
                todo.appendleft(cell)
            else:
                yield Failed(cell, f"it lost {LOSSES} workers, the last one by: {first_line(error)}", str(error))
        else:
            if said.fatal:
                raise KdbenchError(said.fatal)
            if said.busy:
                busy.append(cell)
