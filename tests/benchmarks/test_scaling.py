"""The simulation of many workers: nothing is lost in it, and longest first fills 64 of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.scaling import Cluster, Training, drawn, measured, orders, simulate

RESULTS = Path(__file__).resolve().parents[2] / "results"
KINDS, CELLS_OF_A_KIND = 200, 20
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


def trainings(lengths: random.Random) -> list[Training]:
    """Cells of many kinds, from seconds to minutes long, of which none is exactly as long as was expected."""
    expected = [min(lengths.lognormvariate(2.5, 1.0), 300.0) for _ in range(KINDS)]
    return [Training(e * lengths.uniform(0.8, 1.25), e) for e in expected for _ in range(CELLS_OF_A_KIND)]


@pytest.mark.parametrize("seed", range(5))
def test_64_workers_are_used_to_more_than_90_percent(seed: int) -> None:
    cells = trainings(random.Random(seed))
    total = sum(cell.seconds for cell in cells)
    cluster = Cluster(workers=64, mtbf=7200.0, start=20.0, checkpoint=60.0)
    efficiency = {
        name: total / (64 * simulate(queue, cluster, random.Random(seed)).makespan)
        for name, queue in orders(cells).items()
    }
    assert efficiency["longest first"] > 0.9
    assert efficiency["longest first"] > efficiency["the plan's"]


def test_lengths_are_those_of_accepted_records_drawn_to_the_number_that_is_asked_for() -> None:
    known = measured("digits", RESULTS)
    assert len(known) > 2000
    assert all(cell.seconds > 0 and cell.expected > 0 for cell in known)
    assert sum(cell.seconds for cell in known) == pytest.approx(sum(cell.expected for cell in known))
    assert drawn(known, len(known)) == known
    assert len(drawn(known, 100)) == 100
    assert set(drawn(known, 100)) <= set(known)
