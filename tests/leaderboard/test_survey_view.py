"""The survey's table beside what others published and what kdbench measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.store import Entry, write_results
from kdbench.suite import load_suite, load_test_labels
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings
from kdbench_leaderboard.survey_view import survey_table
from kdbench_leaderboard.tables import Line


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    """CIFAR-100 with DKD and LKD on one pair, LKD being a method that the survey prints; SD and DML on ResNet-32."""
    results = tmp_path_factory.mktemp("cifar100") / "results"
    suite = load_suite("cifar100")
    labels = load_test_labels(suite)
    for name in ("dkd", "lkd"):
        pair = ("wrn_40_2", "wrn_16_2")
        entries = [make_entry(suite, labels, make_method(name), pair, seed, 0.75) for seed in range(3)]
        write_results(results / "cifar100" / name, entries)
    for name, scheme in (("snapshot", "self"), ("dml", "online")):
        about = make_method(name, scheme=scheme, requires=["student.logits"])
        entries = [make_entry(suite, labels, about, (None, "resnet32"), seed, 0.7) for seed in range(3)]
        if scheme == "online":
            entries = [with_peer(entry) for entry in entries]
        write_results(results / "cifar100" / name, entries)
    store = read_store(results, None)
    return survey_table("cifar100", [(board, standings(board, [])) for board in make_boards(store)]).lines


def with_peer(entry: Entry) -> Entry:
    """The entry with a second network like the first."""
    assert entry.evidence is not None
    student = entry.record.main
    peer = student.model_copy(update={"role": "peer 1", "evidence_sha256": entry.evidence.sha256()})
    record = entry.record.model_copy(update={"networks": [student, peer]}).sealed()
    return replace(entry, record=record, others={"peer 1": entry.evidence})


def shown(line: Line, column: str) -> str:
    """A cell as a reader sees it, without its tags."""
    cell = line.cells[column]
    return " ".join([cell.text, *(part.text for part in cell.parts if part.text)])


def part(line: Line, column: str, name: str) -> float | None:
    return next((part.value for part in line.cells[column].parts if part.name == name), None)


def find(lines: list[Line], method: str, student: str) -> Line:
    return next(
        line for line in lines
        if line.cells["method"].text == method and line.cells["student"].text.startswith(student)
    )  # fmt: skip


def test_blocks_are_the_surveys_and_its_rows_come_first(lines: list[Line]):
    sections = list(dict.fromkeys(line.section for line in lines))
    assert [section.split()[0] for section in sections] == [
        "Offline", "Online", "Self-distillation", "Data-free", "Others:",
    ]  # fmt: skip
    offline = [line.cells["survey"].value is not None for line in lines if line.section == sections[0]]
    assert offline == sorted(offline, reverse=True)
    assert [line.cells["method"].text for line in lines[:3]] == ["FSP", "FT", "RKD"]


def test_a_row_is_as_the_survey_prints_it(lines: list[Line]):
    row = find(lines, "LKD", "WRN-16-2")
    assert row.cells["knowledge"].text == "RelK"
    assert shown(row, "teacher") == "WRN-40-2 (75.61)"
    assert shown(row, "student") == "WRN-16-2 (73.10)"
    assert shown(row, "survey") == "75.44 (+2.34)"


def test_what_kdbench_measured_stands_beside_it_with_its_gap(lines: list[Line]):
    row = find(lines, "LKD", "WRN-16-2")
    mine = row.cells["kdbench"]
    assert mine.value is not None
    assert row.cells["gap"].value == pytest.approx(mine.value - 75.44)
    assert mine.href == "pair/cifar100/wrn_40_2/wrn_16_2.html"
    assert row.cells["method"].href == "method/lkd.html"


def test_self_distillation_stands_once_beside_the_surveys_row_of_its_student(lines: list[Line]):
    rows = [line for line in lines if line.cells["method"].href == "method/snapshot.html"]
    assert [row.section for row in rows] == ["Self-distillation"]
    assert rows[0].cells["survey"].text.startswith("71.29")
    assert rows[0].cells["kdbench"].value is not None
    assert rows[0].cells["teacher"].text == "–"


def test_an_online_method_stands_with_its_peer(lines: list[Line]):
    [row] = [line for line in lines if line.cells["method"].href == "method/dml.html"]
    assert row.section == "Online distillation"
    assert row.cells["teacher"].text.lower().startswith("resnet32")
    assert row.cells["student"].text.lower().startswith("resnet32")


def test_the_interval_is_that_of_the_seeds(lines: list[Line]):
    mine = find(lines, "DKD", "wrn_16_2").cells["kdbench"]
    suite = load_suite("cifar100")
    labels = load_test_labels(suite)
    pair = ("wrn_40_2", "wrn_16_2")
    tops = [make_entry(suite, labels, make_method("dkd"), pair, s, 0.75).record.main.metrics.top1 for s in range(3)]
    half = scipy_stats.t.ppf(0.975, 2) * scipy_stats.sem(tops)
    assert (mine.value, mine.low, mine.high) == pytest.approx(
        (np.mean(tops), np.mean(tops) - half, np.mean(tops) + half)
    )


def test_beside_numbers_of_the_best_epoch_stands_what_choosing_it_adds_here(lines: list[Line]):
    row = find(lines, "DKD", "wrn_16_2")
    assert "best epoch" in [tag for tag, _ in row.cells["notes"].tags]
    assert "best +1.00" in [tag for tag, _ in row.cells["kdbench"].tags]


def test_the_surveys_wrong_sums_are_marked(lines: list[Line]):
    row = find(lines, "DML", "ResNet32")
    assert shown(row, "survey") == "71.10 (+8.11) peer 76.13"
    assert [tag for tag, _ in row.cells["survey"].tags] == ["arithmetic"]
    assert "computed 2.11" in row.cells["notes"].text


def test_the_nearest_protocol_is_shown_and_the_others_are_told(lines: list[Line]):
    others = find(lines, "KD", "wrn_16_2").cells["others"]
    assert others.value == 74.92  # RepDistiller's: the last epoch, several runs
    assert "logitstd_readme" in others.tags[0][1]
