"""How well a plan's cells fill many workers: a simulation with the lengths that accepted records measured.

    PYTHONPATH=. python benchmarks/scaling.py --cells 4000 --workers 1,8,64 --seed 0

Cells of the accepted records of a suite are drawn to the number that is asked for, with their own seconds. A free
worker takes the first cell of the list, as every engine has it. Workers are lost at random times (`--mtbf`), with the
time since the last checkpoint of their cell, and others come in their place after a while (`--start`, which the first
ones need too). The order is that of the plan, or longest first by what cells of the kind took on average.

Efficiency is the seconds of all cells over those that the workers were there for, from the first to the last.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from kdbench.layout import RESULTS


@dataclass(frozen=True)
class Training:
    """A cell: what it takes, and what one would expect of its kind."""

    seconds: float
    expected: float


@dataclass(frozen=True)
class Cluster:
    """Workers and what befalls them, in seconds.

    Attributes:
        mtbf: mean time between two losses of one worker.
        start: until a worker is there.
        checkpoint: between two checkpoints of a cell.
    """

    workers: int
    mtbf: float
    start: float
    checkpoint: float


@dataclass(frozen=True)
class Outcome:
    """How a simulation ended: when the last cell was done, how many workers were lost, and what that cost."""

    makespan: float
    losses: int
    repeated: float


def measured(suite: str, results: Path) -> list[Training]:
    """The trainings of the accepted records of a suite, kinds in the order of a plan."""
    kinds: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for path in sorted((results / suite).glob("*/records.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if record["kind"] == "cell" and record["cost"]:
                teachers = [teacher["model"] for teacher in record["teachers"]]
                kinds[record["method"]["name"], record["student"], *teachers].append(record["cost"]["train_seconds"])
    return [Training(seconds, fmean(found)) for found in kinds.values() for seconds in found]


def drawn(known: Sequence[Training], cells: int) -> list[Training]:
    """As many trainings as are asked for, in the plan's order: all that are known, again and again."""
    return [known[i * len(known) // cells] for i in range(cells)]


def simulate(queue: Sequence[Training], cluster: Cluster, chance: random.Random) -> Outcome:
    """Train a queue in its order.

    A lost cell is the first of the queue again, without what its checkpoint holds.
    """
    todo = [cell.seconds for cell in reversed(queue)]
    free = [(cluster.start, k) for k in range(cluster.workers)]
    lost_at = [cluster.start + chance.expovariate(1 / cluster.mtbf) for _ in free]
    heapq.heapify(free)
    makespan, losses, repeated = 0.0, 0, 0.0
    back: list[tuple[float, float]] = []  # when a lost cell is in the queue again, and what is left of it
    while todo or back:
        now, worker = heapq.heappop(free)
        if back and (back[0][0] <= now or not todo):
            ready, seconds = heapq.heappop(back)
        else:
            ready, seconds = now, todo.pop()
        begun = max(now, ready)
        if begun + seconds < lost_at[worker]:
            makespan = max(makespan, begun + seconds)
            heapq.heappush(free, (begun + seconds, worker))
            continue
        gone = max(lost_at[worker], begun)
        kept = (gone - begun) // cluster.checkpoint * cluster.checkpoint
        repeated += gone - begun - kept
        losses += 1
        heapq.heappush(back, (gone, seconds - kept))
        lost_at[worker] = gone + cluster.start + chance.expovariate(1 / cluster.mtbf)
        heapq.heappush(free, (gone + cluster.start, worker))
    return Outcome(makespan, losses, repeated)


def orders(cells: Sequence[Training]) -> dict[str, list[Training]]:
    """The orders that are compared."""
    return {
        "the plan's": list(cells),
        "longest first": sorted(cells, key=lambda cell: cell.expected, reverse=True),
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite", default="digits")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--cells", type=int, default=4000)
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--mtbf", type=float, default=7200.0, help="mean seconds between two losses of a worker")
    parser.add_argument("--start", type=float, default=20.0, help="seconds until a worker is there")
    parser.add_argument("--checkpoint", type=float, default=60.0, help="seconds between two checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    cells = drawn(measured(options.suite, options.results), options.cells)
    total, longest = sum(cell.seconds for cell in cells), max(cell.seconds for cell in cells)
    out = sys.stdout
    out.write(f"{len(cells)} cells of {options.suite}: {total / 3600:.1f} hours, the longest {longest:.0f} s\n")
    out.write(f"{'workers':>8}  {'order':14} {'hours':>7} {'efficiency':>11} {'lost workers':>13} {'repeated':>9}\n")
    for workers in map(int, options.workers.split(",")):
        for name, queue in orders(cells).items():
            cluster = Cluster(workers, options.mtbf, options.start, options.checkpoint)
            done = simulate(queue, cluster, random.Random(options.seed))  # noqa: S311
            efficiency = f"{total / (workers * done.makespan):.1%}"
            repeated = f"{done.repeated / total:.2%}"
            out.write(
                f"{workers:8}  {name:14} {done.makespan / 3600:7.2f} {efficiency:>11} {done.losses:13} {repeated:>9}\n"
            )


if __name__ == "__main__":
    main()
