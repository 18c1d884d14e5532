"""Cells on a Ray cluster of two nodes, on this computer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdbench.commands.resuming import is_begun
from kdbench.errors import KdbenchError
from kdbench.running.engines import local
from kdbench.running.engines.events import Failed, Machine, Noticed, Progressed
from kdbench.suite import Suite
from tests.kdbench.running.engines.clusters import cells_of, evidence

pytest.importorskip("ray", reason="ray is not installed: pip install 'kdbench[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what Ray warns of


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two nodes with a CPU each, of which a test kills one."""
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_worker_niceness", "0")  # beside tests that are not nice
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    found = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    found.second = found.add_node(**small)
    yield found
    found.shutdown()
    patch.undo()


def on(cluster: Any, **changes: Any) -> Machine:
    return replace(Machine(["auto"], 0, engine="ray", options={"address": cluster.address}), **changes)


def test_a_node_that_dies_costs_its_own_cell_alone_and_predictions_stay(
    cluster: Any, digits: Suite, tmp_path: Path
) -> None:
    from kdbench.running.engines import on_ray

    cells, second = cells_of(digits, 30, 1), cluster.second.node_id[:4]
    events: list[Any] = []
    begun: dict[str, int] = {}
    killed: str | None = None
    for event in on_ray.execute(cells, tmp_path / "ray", on(cluster)):
        events.append(event)
        there = isinstance(event, Progressed) and event.where.endswith(second)
        if killed is None and there and is_begun(event.cell, tmp_path / "ray"):
            killed = event.cell.key
            cluster.remove_node(cluster.second, allow_graceful=False)
        elif isinstance(event, Progressed) and event.loss is None:
            begun[event.cell.key] = event.epochs_done
    assert killed is not None
    assert begun[killed] > 0  # it went on from its checkpoint
    assert [e for e in events if isinstance(e, Noticed) and "was lost" in e.text]
    assert not [e for e in events if isinstance(e, Failed)]
    assert len({e.where for e in events if isinstance(e, Progressed)}) == 2
    here = list(local.execute(cells, tmp_path / "local", Machine(["cpu"], 1)))
    assert evidence(events) == evidence(here)
    assert len(evidence(here)) == 2


def test_a_failed_cell_is_alone_and_what_is_broken_off_goes_on(cluster: Any, digits: Suite, tmp_path: Path) -> None:
    from kdbench.running.engines import on_ray

    good, other = cells_of(digits, 150, 1)
    broken = replace(other, params={"temperature": "hot"})
    events: list[Any] = []
    running = on_ray.execute([broken, good], tmp_path, on(cluster, workers=1))
    for event in running:
        events.append(event)
        if isinstance(event, Progressed) and is_begun(good, tmp_path):
            running.close()  # as Ctrl-C does
    [failed] = [e for e in events if isinstance(e, Failed)]
    assert failed.cell.key == broken.key
    assert "Traceback" in failed.details
    assert not list(tmp_path.rglob("record.json"))
    again = list(local.execute([good], tmp_path, Machine(["cpu"], 1)))  # any engine goes on
    first = next(e for e in again if isinstance(e, Progressed))
    assert first.epochs_done > 0
    assert len(evidence(again)) == 1


def test_a_cluster_that_is_not_there_or_lacks_what_cells_need_is_one_line(
    cluster: Any, digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdbench.running.engines import on_ray

    cells = cells_of(digits, 2, 1)
    with pytest.raises(KdbenchError, match="has no room for a cell"):
        list(on_ray.execute(cells, tmp_path, on(cluster, devices=["cuda"])))
    with pytest.raises(KdbenchError, match=r"unknown to --engine ray\. Did you mean 'gpus'"):
        list(on_ray.execute(cells, tmp_path, on(cluster, options={"gpu": "1"})))
    pack = on_ray.pack

    def other_source(*given: Any) -> Any:
        found = pack(*given)
        return replace(found, methods={"kd": ("my-package", "3.0", "0" * 64)})

    monkeypatch.setattr(on_ray, "pack", other_source)
    with pytest.raises(KdbenchError, match=r"has another 'kd' \(kdbench .*\) than the parent \(my-package 3.0\)"):
        list(on_ray.execute(cells, tmp_path, on(cluster)))
    assert not list(tmp_path.rglob("record.json"))
