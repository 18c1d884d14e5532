"""How many cells at a time a device is worth: steps of 1, 2, 4 and 8 processes side by side, in one run.

    PYTHONPATH=. python benchmarks/cells_at_a_time.py --method kd --pair vgg13:vgg8 --cells 1,2,4,8

Each process trains a cell of its own on made-up images, under a live teacher where the method reads one, and all begin
at once. The yardstick is one cell alone: so many times its steps a second are taken by all of them together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import sys
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

import torch
from rich.console import Console
from rich.table import Table

from kdbench.commands.request import parse_device, parse_execution, parse_pairs
from kdbench.errors import KdbenchError, first_line
from kdbench.plugins import load_method
from kdbench.running.plan import resolve_params
from kdbench.running.timing import Subject, random_dataset, time_steps, timed_trainer
from kdbench.suites import load_suite
from kdbench.tables import Execution

PATIENCE = 300.0  # seconds until all processes are ready
MANY = 10**9  # steps: as many as an epoch has


@dataclass(frozen=True)
class Asked:
    """What each process trains, by name; it looks at the clock after so many steps, until so many seconds are over."""

    suite: str
    pair: str
    method: str
    device: str
    execution: Execution
    steps: int
    seconds: float

    def subject(self) -> Subject:
        """Raises KdbenchError: an unknown name."""
        suite = load_suite(self.suite)
        [pair] = parse_pairs(suite, [self.pair])
        cls = load_method(self.method)
        params, _ = resolve_params(cls, suite, pair, {})
        dataset = random_dataset(suite.data)
        return Subject(suite, pair, self.method, params, dataset, torch.device(self.device), self.execution)


def take_steps(asked: Asked, barrier: Barrier, rates: multiprocessing.Queue[float | str]) -> None:
    """One process: warm up, wait for the others, train, and tell the steps of a second, or what went wrong."""
    try:
        trainer = timed_trainer(asked.subject())
        steps = min(asked.steps, trainer.samples // trainer.recipe.batch_size)
        time_steps(trainer, steps)
        barrier.wait(PATIENCE)
    except Exception as error:
        rates.put("another one did not come" if isinstance(error, BrokenBarrierError) else first_line(error))
        barrier.abort()
        return
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < asked.seconds:
        time_steps(trainer, steps)
        count += steps
    rates.put(count / (time.perf_counter() - start))


def measure(asked: Asked, cells: int) -> list[float]:
    """Steps a second of each of so many processes.

    Raises:
        KdbenchError: a process failed.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier, rates = spawn.Barrier(cells), spawn.Queue()
    crew = [spawn.Process(target=take_steps, args=(asked, barrier, rates), daemon=True) for _ in range(cells)]
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    found = [rates.get() for process in crew if process.exitcode == 0]
    if problems := [one for one in found if isinstance(one, str)]:
        raise KdbenchError(f"A process of {cells} failed: {problems[0]}.")
    if len(found) < cells:
        raise KdbenchError(f"A process of {cells} was killed.")
    return found


def parse_cells(text: str) -> list[int]:
    """Numbers of processes, one alone first.

    Raises:
        KdbenchError: no such numbers.
    """
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text, re.ASCII):
        raise KdbenchError(f"--cells {text}: give numbers of processes by commas, as in 1,2,4.")
    return sorted({1, *map(int, text.split(","))})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite", default="cifar100")
    parser.add_argument("--pair", default="resnet32x4:resnet8x4")
    parser.add_argument("--method", default="kd")
    parser.add_argument("--cells", default="1,2,4,8", help="processes at a time, by commas; one alone comes first")
    parser.add_argument("--steps", type=int, help="between two looks at the clock; on a GPU an epoch's, on a CPU 5")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each process trains at least")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--execution", choices=("eager", "captured", "compiled"))
    options = parser.parse_args()

    device, *_ = devices = parse_device(options.device)
    execution, on_gpu = parse_execution(options.execution, devices), device.startswith("cuda")
    steps = options.steps or (MANY if on_gpu else 5)
    asked = Asked(options.suite, options.pair, options.method, device, execution, steps, options.seconds)
    asked.subject()  # a wrong name is told before any process starts
    table = Table("cells", "steps/s of each", "of all", "times one cell", box=None)
    alone = None
    for cells in parse_cells(options.cells):
        rates = measure(asked, cells)
        alone = alone or sum(rates)
        each = f"{min(rates):.1f} to {max(rates):.1f}"
        table.add_row(str(cells), each, f"{sum(rates):.1f}", f"{sum(rates) / alone:.2f}")
    where = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    what = f"{options.suite} {options.pair}, {options.method}, asked to run {execution}"
    Console().print(f"{what}, {where}, torch {torch.__version__}")
    Console().print(table)


if __name__ == "__main__":
    try:
        main()
    except KdbenchError as error:
        sys.stderr.write(f"cells_at_a_time: {error}\n")
        sys.exit(2)
