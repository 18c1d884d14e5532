"""Cells of several networks, teachers or assistants, and of synthetic images: what they leave on their records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.commands.training_again import cell_of
from kdbench.data.small import Dataset, load_data
from kdbench.errors import KdbenchError
from kdbench.records.evidence import read_evidence, write_evidence
from kdbench.records.gate import record_problems
from kdbench.records.metrics import metrics
from kdbench.records.reader import read_results
from kdbench.records.store import Entry, other_key, read_cell, write_results
from kdbench.running.cell import run_cell
from kdbench.running.plan import Cell, plan_cells, teachers_of
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_test_labels

CPU = torch.device("cpu")


@pytest.fixture
def suite(digits: Suite) -> Suite:
    """With two assistants on its first pair."""
    between = {**digits.assistants, "resnet8:resnet8_w8": ("resnet8_w12", "resnet8_w4")}
    return digits.model_copy(update={"assistants": between}).with_epochs(2)


def plan(suite: Suite, method: str, pair: str = "resnet8:resnet8_w8", **params: object) -> Cell:
    pairs = [p for p in suite.pairs if str(p) == pair]
    teachers = {name: find_teacher(suite, name, None, print) for name in teachers_of(suite, [method], pairs, [0])}
    assert all(teachers.values())
    [cell] = plan_cells(suite, {method: params}, pairs, [0], teachers)  # type: ignore[arg-type]
    return cell


def run(cell: Cell, root: Path) -> Entry:
    done = run_cell(cell, root, CPU, lambda *_: None, print)
    assert done is not None
    return done[0]


def found_problems(entry: Entry, suite: Suite) -> list[str]:
    """Of a record, but for being off the protocol."""
    teachers = {t.sha256: t.model for t in entry.record.teachers}
    labels = load_test_labels(suite)
    found = record_problems(entry.record, entry.evidence, suite, labels, teachers, entry.record.curve, entry.others)
    return [problem for problem in found if "off the protocol" not in problem]


def test_each_peer_is_on_the_record_with_its_evidence(suite: Suite, tmp_path: Path) -> None:
    entry = run(plan(suite, "dml", peers=2), tmp_path)
    labels = load_data(suite.data).test_labels.numpy()
    assert [network.role for network in entry.record.networks] == ["student", "peer 1", "peer 2"]
    for network in entry.record.others:
        assert network.metrics == metrics(entry.others[network.role], labels, 10)
        assert network.parameters == entry.record.main.parameters
    assert len({network.evidence_sha256 for network in entry.record.others}) == 2
    assert entry.record.cost is not None
    assert entry.record.cost.passes is not None
    assert set(entry.record.cost.passes) == {"student", "peers.0", "peers.1"}
    again = read_cell(entry.folder)
    assert again.record == entry.record
    assert again.others["peer 2"].sha256() == entry.others["peer 2"].sha256()
    assert found_problems(entry, suite) == []


def test_forged_evidence_of_a_peer_is_found(suite: Suite, tmp_path: Path) -> None:
    entry = run(plan(suite, "dml"), tmp_path)
    perfect = replace(entry.others["peer 1"], rank=np.zeros(797, dtype=np.int16))
    assert any("peer 1" in p for p in found_problems(replace(entry, others={"peer 1": perfect}), suite))
    assert any("peer 1" in p and "missing" in p for p in found_problems(replace(entry, others={}), suite))
    path = entry.folder / "evidence.parquet"
    known = read_evidence(path)
    write_evidence(path, {**known, other_key(entry.record.key, "peer 1"): perfect})
    with pytest.raises(KdbenchError, match=r"corrupt: 'peer 1' of key .* does not match its hash"):
        read_cell(entry.folder)


def test_evidence_of_peers_goes_into_the_results_and_comes_back(suite: Suite, tmp_path: Path) -> None:
    entry = run(plan(suite, "dml"), tmp_path)
    write_results(tmp_path / "results", [entry])
    [again] = read_results(tmp_path / "results")
    assert again.others["peer 1"].sha256() == entry.others["peer 1"].sha256()


def test_a_cell_with_a_team_names_all_its_teachers_and_depends_on_them(suite: Suite, tmp_path: Path) -> None:
    cell = plan(suite, "avg_teachers")
    entry = run(cell, tmp_path)
    assert [teacher.model for teacher in entry.record.teachers] == ["resnet8", "vit"]
    assert cell.key != replace(cell, team=()).key
    assert found_problems(entry, suite) == []
    assert cell_of(entry, suite, None, print).key == cell.key
    alone = suite.model_copy(update={"teams": {}})
    assert any("further teachers are not those" in p for p in found_problems(entry, alone))


def test_a_cell_with_assistants_depends_on_them(suite: Suite, tmp_path: Path) -> None:
    cell = plan(suite, "takd")
    assert cell.assistants == ("resnet8_w12", "resnet8_w4")
    assert cell.key != replace(cell, assistants=("resnet8_w12",)).key
    entry = run(cell, tmp_path)
    assert [n.model for n in entry.record.others] == ["resnet8_w12", "resnet8_w4"]
    assert cell_of(entry, suite, None, print).key == cell.key
    assert found_problems(entry, suite) == []


def test_a_method_that_asks_for_no_assistants_has_the_key_that_it_always_had(suite: Suite) -> None:
    cell = plan(suite, "kd")
    assert cell.key == replace(cell, suite=suite.model_copy(update={"assistants": {}, "teams": {}})).key


@pytest.mark.parametrize(("method", "table"), [("avg_teachers", "teams"), ("takd", "assistants")])
def test_where_the_suite_names_none_the_method_is_not_applicable(
    method: str, table: str, suite: Suite, tmp_path: Path
) -> None:
    entry = run(plan(suite.model_copy(update={table: {}}), method), tmp_path)
    assert entry.record.status == "not_applicable"
    assert "the suite" in (entry.record.reason or "")
    assert " no " in (entry.record.reason or "")


def test_an_integer_copy_has_its_size_and_its_originals_numbers(suite: Suite, tmp_path: Path) -> None:
    student, int8 = run(plan(suite, "quantized_kd"), tmp_path).record.networks
    assert (int8.role, int8.parameters, int8.macs) == ("int8", student.parameters, student.macs)
    assert int8.size_bytes is not None
    assert int8.size_bytes < 2 * student.parameters
    assert student.size_bytes is None


@pytest.mark.parametrize("method", ["dfad", "dafl"])
def test_a_data_free_cell_keeps_its_images_and_never_saw_another(
    method: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = plan(suite, method)
    entry = run(cell, tmp_path / "real")
    assert {"synthetic.png", "synthetic.safetensors"} <= {path.name for path in entry.folder.iterdir()}
    cost = entry.record.cost
    assert cost is not None
    assert cost.synthetic_images == cost.steps * suite.recipe.batch_size
    assert entry.record.main_epochs * 5 == cost.steps

    def poisoned(data: object) -> Dataset:
        real = load_data(suite.data)
        noise = torch.randint_like(real.train_images, 256)
        return Dataset(noise, (real.train_labels + 3) % 10, real.test_images, real.test_labels)

    monkeypatch.setattr("kdbench.running.cell.load_dataset", poisoned)
    other = run(cell, tmp_path / "poisoned")
    assert other.evidence is not None
    assert entry.evidence is not None
    assert other.evidence.sha256() == entry.evidence.sha256()
