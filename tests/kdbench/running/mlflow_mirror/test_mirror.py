"""MLflow mirrors records: each once, with all that they say."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from kdbench.records.store import Entry
from kdbench.running.mlflow_mirror import Mirror
from tests.kdbench.running.mlflow_mirror.conftest import cell, evidence, runs_of

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # MLflow keeps its connections


def test_a_grid_of_synthetic_images_is_attached_to_the_run(database, suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    Image.new("L", (3, 3)).save(entry.folder / "synthetic.png")
    with Mirror(database, notices.append, "kdbench run toy") as mirror:
        assert mirror.add(entry)
    assert notices == []
    ((run,), _) = runs_of(database, suite)
    names = {file.path for file in mlflow.MlflowClient(database).list_artifacts(run.info.run_id)}
    assert names == {"record.json", "synthetic.png"}


def test_a_run_says_what_the_record_says(database, suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    teacher = evidence(7)
    with Mirror(database, notices.append, "kdbench run toy") as mirror:
        assert mirror.add(entry, teacher)
    assert notices == []

    ((run,), (parent,)) = runs_of(database, suite)
    assert parent.info.run_name == "kdbench run toy"
    assert {run.info.status, parent.info.status} == {"FINISHED"}
    assert run.info.end_time - run.info.start_time == 8000
    assert run.info.end_time == 1767323045000
    assert run.data.params == {
        "student": "small", "teacher": "large", "seed": "0", "epochs": "2", "temperature": "4.0", "method.seed": "odd"
    }  # fmt: skip
    tags = {name.removeprefix("kdbench."): v for name, v in run.data.tags.items() if name.startswith("kdbench.")}
    assert tags == {
        "key": entry.record.key, "record": entry.record.sha256, "method": "kd", "row": "kd[temperature=4.0]",
        "version": "2", "distribution": "kdbench 0.1.0", "scheme": "offline", "knowledge": "response",
        "pair": "large:small", "student": "small", "teacher": "large", "seed": "0", "status": "done",
        "fingerprint": entry.record.fingerprint, "off_protocol": "2 epochs instead of 20",
    }  # fmt: skip
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id

    expected = entry.record.main.metrics
    final = {"top1": expected.top1, "nll": expected.nll, "ece": expected.ece, "parameters": 10, "macs": 20}
    same = 100 * np.mean(entry.evidence.predicted == teacher.predicted)
    assert run.data.metrics == pytest.approx(
        final | {f"peer_1/{name}": value for name, value in final.items()}
        | {"train_seconds": 8.0, "agreement": same, "curve/loss": 1.0, "curve/kd__T__": 0.25}
    )  # fmt: skip
    client = mlflow.MlflowClient(database)
    history = client.get_metric_history(run.info.run_id, "curve/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    written = client.download_artifacts(run.info.run_id, "record.json", str(tmp_path))
    assert Path(written).read_text() == (entry.folder / "record.json").read_text()


def test_a_cell_is_mirrored_once(database, suite, notices, tmp_path):
    entries = [cell(tmp_path, suite, seed) for seed in range(3)]
    with Mirror(database, notices.append, "first") as mirror:
        assert all(mirror.add(entry) for entry in [*entries[:2], *entries[:2]])
        assert mirror.written == 2
    with Mirror(database, notices.append, "second") as mirror:
        assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == 1
    with Mirror(database, notices.append, "third") as mirror:
        assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == 0
    cells, parents = runs_of(database, suite)
    assert sorted(run.data.tags["kdbench.seed"] for run in cells) == ["0", "1", "2"]
    assert {parent.info.run_name for parent in parents} == {"first", "second"}  # the third had nothing to write
    assert notices == []


def test_what_is_mirrored_is_found_over_several_pages(database, suite, notices, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.running.mlflow_mirror.RUNS_PER_PAGE", 2)
    entries = [cell(tmp_path, suite, seed) for seed in range(5)]
    for written in (5, 0):
        with Mirror(database, notices.append, "run") as mirror:
            assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == written


def test_an_interrupted_run_is_replaced(database, suite, notices, tmp_path, monkeypatch):
    entry = cell(tmp_path, suite)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_text", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), Mirror(database, notices.append, "interrupted") as mirror:
            mirror.add(entry)
    ((half,), (parent,)) = runs_of(database, suite)
    assert half.info.status == "RUNNING"
    assert parent.info.status == "FINISHED"

    with Mirror(database, notices.append, "again") as mirror:
        assert mirror.add(entry)
    ((run,), _) = runs_of(database, suite)
    assert (run.info.status, mirror.written) == ("FINISHED", 1)
    assert run.info.run_id != half.info.run_id
    assert notices == []


def test_a_cell_that_was_trained_again_replaces_its_run(database, suite, notices, tmp_path):
    old = cell(tmp_path, suite)
    new = cell(tmp_path, suite, finished="2026-01-03T03:04:05+00:00")
    for entry in (old, new):
        with Mirror(database, notices.append, "run") as mirror:
            assert mirror.add(entry)
        assert mirror.written == 1
    ((run,), _) = runs_of(database, suite)
    assert run.data.tags["kdbench.record"] == new.record.sha256 != old.record.sha256


def test_a_cell_that_does_not_apply_has_tags_and_no_metrics(database, suite, notices, tmp_path):
    none = {"networks": [], "curve": None, "cost": None, "evidence_sha256": None}
    entry = cell(tmp_path, suite, status="not_applicable", reason="no feature maps", teachers=[], **none)
    with Mirror(database, notices.append, "run") as mirror:
        assert mirror.add(entry, evidence(7))
    ((run,), _) = runs_of(database, suite)
    assert run.data.metrics == {}
    assert run.data.tags["kdbench.status"] == "not_applicable"
    assert run.data.tags["kdbench.reason"] == "no feature maps"
    assert run.data.tags["kdbench.pair"] == "small"
    assert "kdbench.teacher" not in run.data.tags


def test_more_than_one_request_holds_is_written(database, suite, notices, tmp_path):
    curve = {name: [1.0] * 700 for name in ("loss", "test_top1")}
    entry = cell(tmp_path, suite, params={f"p{n}": n for n in range(120)}, curve=curve, recipe={"epochs": 700})
    with Mirror(database, notices.append, "run") as mirror:
        assert mirror.add(entry)
    ((run,), _) = runs_of(database, suite)
    assert len(run.data.params) == 124
    assert len(mlflow.MlflowClient(database).get_metric_history(run.info.run_id, "curve/test_top1")) == 700


def test_a_teacher_is_not_mirrored(suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    teacher = entry.record.main.model_copy(update={"role": "teacher"})
    record = entry.record.model_copy(update={"kind": "teacher", "networks": [teacher]}).sealed()
    with Mirror(f"sqlite:///{tmp_path}/none.db", notices.append, "run") as mirror:
        assert not mirror.add(Entry(record, entry.evidence, entry.folder))
    assert not (tmp_path / "none.db").exists()
    assert notices == []
