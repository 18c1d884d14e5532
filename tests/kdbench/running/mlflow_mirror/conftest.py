"""Fixtures of the mirror's tests: records on disk, a database, the notices."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from kdbench.records.evidence import Evidence, evidence_from_logits
from kdbench.records.metrics import metrics
from kdbench.records.parts import Cost, MethodInfo, Network, TeacherRef
from kdbench.records.record import Record
from kdbench.records.store import Entry, finish_cell
from kdbench.suite import digest

LABELS = np.arange(40) % 4
PROTOCOL = {"suite": "toy"}


def evidence(seed: int) -> Evidence:
    return evidence_from_logits(np.random.default_rng(seed).normal(size=(40, 4)), LABELS)


def cell(folder: Path, suite: str, seed: int = 0, **changes) -> Entry:
    """A valid record of a cell, on disk."""
    seen = evidence(seed)
    numbers = metrics(seen, LABELS, 4)
    method = MethodInfo(
        name="kd", version=2, title=None, authors=None, year=None, arxiv=None, scheme="offline", knowledge=["response"],
        families=[], requires=["student.logits"], deviations=[], docstring="",
        distribution="kdbench", distribution_version="0.1.0", source_sha256=digest("source"),
    )  # fmt: skip
    student = Network(
        role="student", model="small", timm_name="s", arguments={}, metrics=numbers, parameters=10, macs=20
    )
    peer = student.model_copy(update={"role": "peer 1", "evidence_sha256": seen.sha256()})
    values = {
        "kind": "cell", "status": "done", "reason": None, "key": digest([suite, seed]), "suite": suite,
        "fingerprint": digest(PROTOCOL), "protocol": PROTOCOL, "off_protocol": ["2 epochs instead of 20"],
        "student": "small", "seed": seed, "method": method, "params": {"temperature": 4.0, "seed": "odd"},
        "variant": {"temperature": 4.0}, "params_source": "user", "trials": 0,
        "teachers": [TeacherRef(model="large", sha256=digest("teacher"), outputs="live")], "recipe": {"epochs": 2},
        "matching": [], "networks": [student, peer],
        "curve": {"loss": [2.0, 1.0], "kd (T²)": [0.5, 0.25]},
        "cost": Cost(train_seconds=8.0, steps=6, method_parameters=0), "environment": {},
        "finished": "2026-01-02T03:04:05+00:00", "evidence_sha256": seen.sha256(), **changes,
    }  # fmt: skip
    record = Record(**values).sealed()
    kept = seen if record.evidence_sha256 else None
    place = folder / suite / "kd" / record.key[:16]
    others = {"peer 1": seen} if kept and record.others else {}
    finish_cell(place, record, kept, others)
    return Entry(record, kept, place, others)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Each test has the environment to itself, without settings of MLflow."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            del os.environ[name]
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database for all tests: each has a suite, and so an experiment, of its own."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield f"sqlite:///{folder}/tracking.db"


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def suite(request: pytest.FixtureRequest) -> str:
    return request.node.name.partition("[")[0]


def runs_of(uri: str, suite: str) -> tuple[list, list]:
    """The runs of cells of a suite, and those of invocations."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(f"kdbench/{suite}").experiment_id])
    cells = [run for run in runs if "kdbench.key" in run.data.tags]
    return cells, [run for run in runs if run not in cells]
