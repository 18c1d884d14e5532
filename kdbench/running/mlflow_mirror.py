"""MLflow mirrors records: an experiment a suite, a run a cell, nested under a run for the invocation.

Records are the source of truth. The mirror is written by the process that the user started, after a record is on disk;
whatever goes wrong with it costs one line and never a result, and `kdbench track runs/` makes up for it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kdbench.console import Notice
from kdbench.records.evidence import Evidence, agreement
from kdbench.records.metrics import all_metrics
from kdbench.records.record import Record
from kdbench.records.store import GRID, Entry
from kdbench.records.tasks import task_metrics
from kdbench.schedule import evaluated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

LATER = "Nothing is lost: `kdbench track runs/` mirrors later."
METRICS_PER_REQUEST, PARAMS_PER_REQUEST, RUNS_PER_PAGE = 1000, 100, 200
SETTINGS = {  # left to itself the client retries for minutes, prints and phones home; what the user has set stays
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "PGCONNECT_TIMEOUT": "4",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def default_uri() -> str:
    """Where the mirror is if nothing is said: `MLFLOW_TRACKING_URI`, else a file in the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


@dataclass
class Experiment:
    """A suite's experiment.

    Attributes:
        runs: by the key of their cell: each run's id with the hash of the record that it mirrors, None if it was
            interrupted.
        parent: the run of this invocation, once a cell needs it.
    """

    identifier: str
    runs: dict[str, dict[str, str | None]] = field(default_factory=dict)
    parent: str | None = None


class Mirror:
    """Writes records to MLflow, each once. The first failure switches it off and is told through `notice`.

    Attributes:
        written: how many runs of cells were written, without those that were there already.
    """

    def __init__(self, uri: str | None, notice: Notice, invocation: str) -> None:
        self.uri = uri or default_uri()
        self.notice = notice
        self.invocation = invocation
        self.written = 0
        self._is_off = False
        self._client: MlflowClient | None = None
        self._experiments: dict[str, Experiment] = {}

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, entry: Entry, teacher: Evidence | None = None) -> bool:
        """Mirror one cell, unless its run is there; the run of an older record of the cell is replaced.

        Args:
            teacher: what the cell's teacher said of the same images.

        Returns:
            whether MLflow has a run of this record now; never for a teacher's record.
        """
        record = entry.record
        if self._is_off or record.is_teacher:
            return False
        with self._contact():
            if self._client is None:
                self._client = connect(self.uri)
            if record.suite not in self._experiments:
                self._experiments[record.suite] = open_experiment(self._client, f"kdbench/{record.suite}")
            experiment = self._experiments[record.suite]
            known = experiment.runs.get(record.key, {})
            kept = next((run for run, mirrored in known.items() if mirrored == record.sha256), None)
            if kept is None:
                if experiment.parent is None:
                    parent = self._client.create_run(experiment.identifier, run_name=self.invocation[:250])
                    experiment.parent = parent.info.run_id
                kept = write_run(self._client, experiment, entry, teacher)
                self.written += 1
            for run in known:
                if run != kept:
                    self._client.delete_run(run)
            experiment.runs[record.key] = {kept: record.sha256}
            return True
        return False

    def close(self) -> None:
        """End this invocation's runs."""
        parents = [experiment.parent for experiment in self._experiments.values() if experiment.parent]
        self._experiments.clear()
        if self._client is not None and not self._is_off:
            with self._contact():
                for parent in parents:
                    self._client.set_terminated(parent, "FINISHED")

    @contextmanager
    def _contact(self) -> Iterator[None]:
        try:
            with quiet():
                yield
        except Exception as error:  # whatever MLflow, its stores and its plugins raise, training goes on
            self._is_off = True
            problem = f"MLflow at {self.uri} cannot be written: {reason(error)}."
            if isinstance(error, ModuleNotFoundError) and error.name == "mlflow":
                problem = "MLflow is not installed, so records are not mirrored to it."
            self.notice(re.sub(r"//[^/@\s]*@", "//***@", f"{problem} {LATER}"))  # a URI may hold a password


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the logs and warnings of MLflow, SQLAlchemy, Alembic and urllib3 out of the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def reason(error: BaseException) -> str:
    """What went wrong, in one line: the system's or the database's word where there is one, else MLflow's."""
    cause = error
    while deeper := cause.__cause__ or cause.__context__:
        cause = deeper
    told = cause if isinstance(cause, OSError | sqlite3.Error) else error
    return textwrap.shorten(str(told) or type(told).__name__, 200, placeholder="").rstrip(" .,")


def connect(uri: str) -> MlflowClient:
    """A client whose patience is bounded."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    if not uri.startswith("http"):
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 3  # ten attempts to open a database take 100 seconds, and there is no setting for it
    path = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not re.search(r":memory:|\?", uri) and not path.exists():
        create_database(path)
    return MlflowClient(tracking_uri=uri)


def create_database(path: Path) -> None:
    """Put a new SQLite database in place once it is complete: MLflow takes seconds, and one left midway is broken."""
    from mlflow import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".mlflow-", dir=path.parent, ignore_cleanup_errors=True) as folder:
        new, copy = Path(folder, "new.db"), Path(folder, "copy.db")
        MlflowClient(tracking_uri=f"sqlite:///{new.as_posix()}").search_experiments(max_results=1)
        shutil.copyfile(new, copy)  # the client keeps the other open, and Windows renames no open file
        if not path.exists():
            copy.rename(path)


def open_experiment(client: MlflowClient, name: str) -> Experiment:
    """An experiment, made if need be, with the runs of cells that it has; a request a page of them."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return Experiment(client.create_experiment(name))
        except Exception:  # another run, started together with this one, may have made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    experiment, token = Experiment(found.experiment_id), None
    while True:
        page = client.search_runs([found.experiment_id], max_results=RUNS_PER_PAGE, page_token=token)
        for run in page:
            if key := run.data.tags.get("kdbench.key"):
                mirrored = run.data.tags.get("kdbench.record") if run.info.status == "FINISHED" else None
                experiment.runs.setdefault(key, {})[run.info.run_id] = mirrored
        token = page.token
        if not token:
            return experiment


def write_run(client: MlflowClient, experiment: Experiment, entry: Entry, teacher: Evidence | None) -> str:
    """Write the run of one cell and return its id. It is FINISHED only when all of it is there."""
    from mlflow.entities import Param

    record = entry.record
    moment = datetime.fromisoformat(record.finished)
    end = round(1000 * (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    start = end - round(1000 * record.cost.train_seconds) if record.cost else end
    run = client.create_run(
        experiment.identifier,
        start_time=start,
        tags={**tags_of(record), "mlflow.parentRunId": experiment.parent},
        run_name=f"{record.row} {pair_of(record)} seed {record.seed}"[:250],
    ).info.run_id
    params = [Param(name, value) for name, value in params_of(record).items()]
    metrics = metrics_of(entry, teacher, start, end)
    for i in range(0, len(params), PARAMS_PER_REQUEST):
        client.log_batch(run, params=params[i : i + PARAMS_PER_REQUEST], synchronous=True)
    for i in range(0, len(metrics), METRICS_PER_REQUEST):
        client.log_batch(run, metrics=metrics[i : i + METRICS_PER_REQUEST], synchronous=True)
    client.log_text(run, record.to_json() + "\n", "record.json")
    if (grid := entry.folder / GRID).is_file():
        client.log_artifact(run, str(grid))
    client.set_terminated(run, "FINISHED", end_time=end)
    return str(run)


def pair_of(record: Record) -> str:
    """'teacher:student', or the student alone."""
    return f"{record.teacher}:{record.student}" if record.teacher else record.student


def tags_of(record: Record) -> dict[str, str]:
    """What runs are found and grouped by; what is empty is left out."""
    tags = {
        "key": record.key,
        "record": record.sha256,
        "method": record.method.name,
        "row": record.row,
        "version": str(record.method.version),
        "distribution": f"{record.method.distribution} {record.method.distribution_version}",
        "scheme": record.method.scheme,
        "knowledge": ", ".join(record.method.knowledge),
        "pair": pair_of(record),
        "student": record.student,
        "teacher": record.teacher,
        "seed": str(record.seed),
        "fingerprint": record.fingerprint,
        "status": record.status,
        "reason": record.reason,
        "off_protocol": "; ".join(record.off_protocol),
    }
    return {f"kdbench.{name}": value for name, value in tags.items() if value}


def params_of(record: Record) -> dict[str, str]:
    """The method's parameters beside the cell's own coordinates; 'method.' comes before a name that both have."""
    own = {"student": record.student, "teacher": record.teacher, "seed": record.seed, "epochs": record.recipe["epochs"]}
    params = {f"method.{name}" if name in own else plain(name): value for name, value in record.params.items()}
    params |= {name: value for name, value in own.items() if value is not None}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}


def metrics_of(entry: Entry, teacher: Evidence | None, start: int, end: int) -> list[Metric]:
    """The student's metrics by their plain names, other networks' as 'role/name', the curve as 'curve/name'.

    Steps are epochs, from 1; `start` and `end` are in milliseconds.
    """
    from mlflow.entities import Metric

    record = entry.record
    final: dict[str, float | None] = {}
    for network in record.networks:
        prefix = "" if network.role == "student" else f"{plain(network.role)}/"
        seen = entry.evidence if network is record.main else entry.others.get(network.role)
        derived = all_metrics(seen, record.num_classes) if seen else {}
        numbers = network.metrics.model_dump() | derived | {"parameters": network.parameters, "macs": network.macs}
        final |= {prefix + name: value for name, value in numbers.items()}
    if record.tasks:
        final |= task_metrics(record.tasks)
    if record.cost:
        final["train_seconds"] = record.cost.train_seconds
    if teacher and entry.evidence and len(teacher.predicted) == len(entry.evidence.predicted):
        final["agreement"] = agreement(entry.evidence, teacher)
    last = record.recipe["epochs"]
    return [Metric(name, float(value), end, last) for name, value in final.items() if value is not None] + [
        Metric(f"curve/{plain(name)}", value, start + (end - start) * epoch // epochs[-1], epoch)
        for name, values in (record.curve or {}).items()
        if (epochs := epochs_of(name, len(values), record))
        for epoch, value in zip(epochs, values, strict=True)
    ]


def epochs_of(quantity: str, count: int, record: Record) -> list[int]:
    """The epochs, from 1, of a curve's values."""
    epochs = max(count, record.main_epochs) if quantity == "test_top1" else count
    return evaluated(epochs, count)


def plain(name: str) -> str:
    """A name that MLflow takes on every system."""
    return re.sub(r"[^\w-]", "_", name, flags=re.ASCII) or "_"
