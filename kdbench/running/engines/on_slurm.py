"""Cells in jobs of SLURM: an array whose jobs go through the list of cells, submitted by submitit.

Jobs and parent share the folder of the records and meet nowhere else: an array has a folder in `.slurm/`, in which its
jobs write what happens. So a parent that was killed and started again finds the jobs that run, by their name. Options
are those of sbatch: `time` of a job (1h), `partition`, `account`, `gres`, ...
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor

from kdbench.errors import KdbenchError, first_line, writing
from kdbench.hashing import digest
from kdbench.running.cell import cell_lock
from kdbench.running.engines.events import Event, Failed, Finished, Machine, Noticed, Progressed, Waiting
from kdbench.running.engines.post import Fatal, Reader
from kdbench.running.engines.slurm_crew import Orders, write_orders
from kdbench.running.engines.slurm_job import Crew
from kdbench.running.engines.travel import Luggage, pack
from kdbench.running.plan import Cell, find_recorded
from kdbench.training.limit import parse_duration

ARRAYS, KEYS = ".slurm", "keys.json"  # the folder of all arrays, and in an array's own the keys of its cells
OWN = frozenset({"array", "job-name", "output", "error", "signal", "open-mode", "requeue", "no-requeue", "wrap"})
POLL = 2.0  # seconds between two looks at what jobs report
ASK = 10.0  # seconds between two questions to SLURM, which has others to answer
ATTEMPTS = 2  # arrays that may end without a word of a cell
REQUEUES = 10_000
PARTING = 30.0  # seconds for jobs that have nothing left to do
TAIL = 4000  # characters of a job's log


@dataclass
class Array:
    """An array of jobs.

    Attributes:
        name: of its jobs and its folder.
        keys: of its cells.
        moved: whether its jobs trained anything, as far as is known.
    """

    name: str
    keys: frozenset[str]
    mail: Reader
    moved: bool = False

    @property
    def folder(self) -> Path:
        return self.mail.folder


def execute(cells: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
    """The engine."""
    if not machine.limit.suffices():
        return
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise KdbenchError("--engine slurm needs sbatch and squeue: run it where the cluster's jobs are submitted.")
    parameters, seconds = sbatch_parameters(machine)
    luggage = pack(cells, root, machine.devices[0], machine.execution, machine.stored)
    yield from Watch(machine, luggage, parameters, seconds, {cell.key: cell for cell in cells}).events()


def sbatch_parameters(machine: Machine) -> tuple[dict[str, Any], float]:
    """What submitit is told of every job, and the seconds of one.

    Raises:
        KdbenchError: an option that is not the user's to give, or a time of another form.
    """
    options = {name.replace("_", "-"): value for name, value in machine.options.items()}
    seconds = parse_duration(options.pop("time", "1h"), "--engine-option time=")
    if taken := sorted(OWN & options.keys()):
        raise KdbenchError(f"--engine-option {taken[0]}: kdbench sets it itself. Leave it out.")
    if machine.devices == ["cuda"] and not any(name.startswith(("gpus", "gres")) for name in options):
        options["gpus-per-node"] = "1"
    given = {name: True if value == "true" else value for name, value in options.items()}
    ahead = min(90, int(seconds / 10))  # seconds before its end, in which a job is told of it if it does not know
    about = {"time": math.ceil(seconds / 60), "signal_delay_s": ahead, "stderr_to_stdout": True}
    return {**about, "additional_parameters": given}, seconds


@dataclass
class Watch:
    """The parent's side: it submits arrays, reads what they report, and sees which of them are there.

    Attributes:
        left: the cells that have neither a record nor failed, by key.
        held: keys of those that another run trains, outside of the arrays.
        silent: how many arrays ended without a word of a cell, by key.
        asked: when SLURM was asked last.
        asked_for: the keys of all cells of this command.
    """

    machine: Machine
    luggage: Luggage
    parameters: dict[str, Any]
    seconds: float
    left: dict[str, Cell]
    arrays: list[Array] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    silent: Counter[str] = field(default_factory=Counter)
    asked: float = field(default_factory=time.monotonic)
    asked_for: frozenset[str] = frozenset()

    @property
    def root(self) -> Path:
        return self.luggage.root

    def events(self) -> Iterator[Event]:
        """Have all cells trained.

        Raises:
            KdbenchError: SLURM refuses the jobs, or no further cell could succeed.
        """
        self.asked_for = frozenset(self.left)
        self.arrays = [array for name in sorted(running_names() or ()) if (array := self.found(name))]
        for array in self.arrays:
            known = len(array.keys & self.left.keys())
            said = f"Jobs {array.name} of an earlier command are there: their {known} cells are not started again."
            yield Noticed(said)
        try:
            while self.left and self.machine.limit.left() > 0:
                taken = self.held.union(*(array.keys for array in self.arrays))
                waiting = [cell for key, cell in self.left.items() if key not in taken]
                if waiting and self.machine.limit.suffices():
                    self.arrays.append(self.submit(waiting))
                elif not self.arrays and not self.held:
                    return
                yield from self.look()
                time.sleep(POLL if self.left else 0)
        finally:
            for array in self.arrays:
                if self.left or array.keys <= self.asked_for:  # else another command waits for it
                    end_array(array.name)
        for array in self.arrays:
            if not self.left and array.keys <= self.asked_for:
                wait_for_end(array.name)
                shutil.rmtree(array.folder, ignore_errors=True)

    def look(self) -> Iterator[Event]:
        """What happened since the last look."""
        live = None
        if time.monotonic() > self.asked + ASK:
            live, self.asked = running_names(), time.monotonic()
        for array in list(self.arrays):
            yield from self.reports(array)
            if live is not None and array.name not in live:
                self.arrays.remove(array)
                yield from self.reports(array)
                yield from self.ended(array)
        for key in list(self.held):
            yield from self.others(self.left[key])
        if self.held:
            yield Waiting(len(self.held))

    def found(self, name: str) -> Array | None:
        """An array of this folder with cells of this request; None for other jobs."""
        folder = self.root / ARRAYS / name
        try:
            keys = frozenset(json.loads((folder / KEYS).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        return Array(name, keys, Reader(folder, self.left)) if keys & self.left.keys() else None

    def submit(self, cells: Sequence[Cell]) -> Array:
        """An array for cells.

        Raises:
            KdbenchError: sbatch refuses it, or its folder cannot be written.
        """
        name = f"kdbench-{digest([str(self.root), time.time_ns(), os.getpid()])[:10]}"
        folder, keys = self.root / ARRAYS / name, frozenset(cell.key for cell in cells)
        with writing(self.root):
            folder.mkdir(parents=True)
            orders = write_orders(folder, Orders(self.luggage, list(cells)))
            (folder / KEYS).write_text(json.dumps(sorted(keys)), encoding="utf-8")
        try:
            executor = SlurmExecutor(folder / "jobs", max_num_timeout=REQUEUES)
            executor.update_parameters(job_name=name, **self.parameters)
            executor.map_array(Crew(folder, orders, self.seconds), range(min(self.machine.workers, len(cells))))
        except (RuntimeError, ValueError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise KdbenchError(f"SLURM takes no jobs: {complaint(error)}. See --engine-option.") from error
        return Array(name, keys, Reader(folder, self.left))

    def reports(self, array: Array) -> Iterator[Event]:
        """What the jobs of an array have said since.

        Raises:
            KdbenchError: no further cell could succeed.
        """
        for event in array.mail.new():
            if isinstance(event, Fatal):
                raise KdbenchError(event.message)
            array.moved = array.moved or (isinstance(event, Progressed) and event.loss is not None)
            if isinstance(event, Finished | Failed):
                array.moved = True
                del self.left[event.cell.key]  # events of it that follow are of no cell that is asked for
            yield event

    def ended(self, array: Array) -> Iterator[Event]:
        """What becomes of the cells of an array whose jobs are gone; those that are left go into another one."""
        for cell in [self.left[key] for key in array.keys & self.left.keys()]:
            yield from self.others(cell)
            if cell.key not in self.left or cell.key in self.held or array.moved:
                continue
            self.silent[cell.key] += 1
            if self.silent[cell.key] >= ATTEMPTS:
                del self.left[cell.key]
                log = last_log(array.folder)
                yield Failed(cell, f"the jobs {array.name} ended without a word of it", log)
        if not self.left:
            shutil.rmtree(array.folder, ignore_errors=True)

    def others(self, cell: Cell) -> Iterator[Event]:
        """Whether another run has trained a cell, or trains it now."""
        if entry := find_recorded([cell], self.root, lambda text: None).get(cell.key):
            self.held.discard(cell.key)
            del self.left[cell.key]
            yield Finished(cell, entry.folder, here=False)
            return
        with cell_lock(cell, self.root) as free:
            (self.held.discard if free else self.held.add)(cell.key)


def running_names() -> set[str] | None:
    """The names of this user's jobs, pending ones among them; None where SLURM does not answer."""
    try:
        said = subprocess.run(
            ["squeue", "--me", "--noheader", "--format=%j"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(said.stdout.split())


def end_array(name: str) -> None:
    """Take an array's jobs out of the queue, and have those that run stop at their epoch's end."""
    for how in (["--state=PENDING"], ["--state=RUNNING", "--signal=TERM"]):
        subprocess.run(["scancel", f"--name={name}", *how], capture_output=True, timeout=60, check=False)


def wait_for_end(name: str) -> None:
    """Until an array's jobs are gone, which have nothing left to do."""
    deadline = time.monotonic() + PARTING
    while time.monotonic() < deadline and name in (running_names() or ()):
        time.sleep(POLL)


def complaint(error: Exception) -> str:
    """What sbatch says, without its name."""
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(said).splitlines() if "error:" in line] or [first_line(error)]
    return lines[0].partition("error: ")[2].rstrip(".") or lines[0].rstrip(".")


def last_log(folder: Path) -> str:
    """The end of the newest log of an array's jobs."""
    logs = sorted((folder / "jobs").glob("*.out"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text(encoding="utf-8", errors="replace")[-TAIL:] if logs else ""
