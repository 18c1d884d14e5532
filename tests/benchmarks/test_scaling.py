"""The simulation of many workers: nothing is lost in it, and longest first fills 64 of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.scaling import Cluster, Training, drawn, measured, orders, simulate

RESULTS = Path(__file__).resolve().parents[2] / "results"
QUIET = Cluster(workers=1, mtbf=1e15, start=20.0, checkpoint=60.0)


def chance() -> random.Random:
    return random.Random(0)


def test_one_worker_takes_the_cells_one_after_another() -> None:
    done = simulate([Training(5.0, 5.0), Training(7.0, 7.0)], QUIET, chance())
    assert (done.makespan, done.losses, done.repeated) == (32.0, 0, 0.0)


def test_a_lost_worker_costs_the_time_since_a_checkpoint() -> None:
    cluster = Cluster(workers=2, mtbf=300.0, start=20.0, checkpoint=60.0)
    cells = [Training(500.0, 500.0)] * 40
    done = simulate(cells, cluster, chance())
    assert done.losses > 10
    assert 0 < done.repeated < 60 * done.losses
    at_work = 40 * 500 + done.repeated
    assert at_work / 2 <= done.makespan <= (at_work + 20 * done.losses) / 2 + 20 + 560


@pytest.mark.parametrize("seed", range(5))
def test_64_workers_are_used_to_more_than_90_percent(seed: int) -> None:
    cells = drawn(measured("digits", RESULTS), 4000)
    total = sum(cell.seconds for cell in cells)
    cluster = Cluster(workers=64, mtbf=7200.0, start=20.0, checkpoint=60.0)
    efficiency = {
        name: total / (64 * simulate(queue, cluster, random.Random(seed)).makespan)
        for name, queue in orders(cells).items()
    }
    assert efficiency["longest first"] > 0.9
    assert efficiency["longest first"] > efficiency["the plan's"]
