"""The survey's table beside what others published and what kdbench measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.records.store import Entry, write_results
from kdbench.suites import load_suite, load_test_labels
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.published import by_trust, datasets, entries
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


@pytest.fixture(scope="module")
def published_lines() -> list[Line]:
    """The lines of all data sets, where nothing is measured."""
    return [line for dataset in datasets() for line in survey_table(dataset, []).lines]


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


def test_accuracy_less_baseline_is_the_gain_in_every_row_of_other_sources(published_lines: list[Line]):
    checked = 0
    for line in published_lines:
        gain, baseline = part(line, "others", "gain"), part(line, "others", "baseline")
        assert (gain is None) == (baseline is None)
        if line.cells["survey"].value is None:
            assert part(line, "student", "baseline") == baseline or gain is None
        if gain is not None and baseline is not None:
            assert line.cells["others"].value - baseline == pytest.approx(gain, abs=1e-9)
            checked += 1
    assert checked == 795


@pytest.mark.parametrize("dataset", datasets())
def test_networks_baselines_and_accuracy_of_a_row_are_of_the_source_nearest_to_our_protocol(dataset: str):
    nearest = [by_trust(entry.printed)[0] for entry in entries(dataset).values() if not entry.survey]
    lines = [line for line in survey_table(dataset, []).lines if line.cells["survey"].value is None]
    told = sorted((shown(line, "teacher"), shown(line, "student"), line.cells["others"].value or 0.0) for line in lines)
    assert told == sorted(
        (said(p.teacher, p.teacher_accuracy), said(p.student, p.student_accuracy), p.accuracy or 0.0) for p in nearest
    )


def said(name: str, accuracy: float | None) -> str:
    return (name or "–") + (f" ({accuracy:.2f})" if accuracy is not None else "")


def test_label_smoothing_on_resnet18_has_the_baseline_of_its_gain():
    [row] = [
        line
        for line in survey_table("cifar100", []).lines
        if line.cells["method"].text == "Label smoothing" and line.cells["student"].text == "resnet18"
    ]
    assert shown(row, "student") == "resnet18 (75.87)"
    assert shown(row, "others") == "77.26 (+1.39)"
    assert "78.72 over a student of 76.24: selfkdlib_readme" in row.cells["others"].tags[0][1]


def test_beside_the_survey_another_source_tells_its_own_baseline(published_lines: list[Line]):
    row = next(line for line in published_lines if line.cells["method"].text == "CCKD")
    assert shown(row, "student") == "ResNet20 (68.40)"
    assert shown(row, "others") == "69.48 (+0.42)"
    assert row.cells["others"].title.startswith("69.48 over a student of 69.06: repdistiller_readme")
    assert part(row, "others", "baseline") == 69.06


def test_the_peers_accuracy_after_training_stands_beside_the_students(published_lines: list[Line]):
    rows = [line for line in published_lines if part(line, "survey", "peer") is not None]
    assert [(row.cells["method"].text, row.cells["survey"].value, part(row, "survey", "peer")) for row in rows] == [
        ("DML", 93.18, 95.75),
        ("DML", 93.32, 94.24),
        ("DML", 92.80, 92.68),
        ("DML", 77.39, 80.28),
        ("DML", 71.10, 76.13),
        ("DCM", 77.01, 82.18),
        ("DCM", 78.57, 83.17),
        ("KDCL", 74.30, 75.50),
    ]
    assert all("network in the teacher's column" in row.cells["survey"].parts[1].title for row in rows)


def test_the_surveys_label_is_marked_where_ours_differs(published_lines: list[Line]):
    marked = {
        (line.cells["method"].text, line.cells["knowledge"].text, line.cells["knowledge"].tags[0][0])
        for line in published_lines
        if line.cells["knowledge"].tags
    }
    assert marked == {
        ("FSP", "RelK", "here FeaK, RelK"),
        ("RKD", "RelK, FeaK", "here RelK"),
        ("CCKD", "RelK, ResK", "here RelK"),
        ("FN", "FeaK", "here ResK, FeaK"),
        ("AE-KD", "FeaK", "here ResK"),
        ("TOFD", "FeaK", "here ResK, FeaK"),
        ("CTKD", "RelK, FeaK", "here ResK, FeaK"),
        ("Rocket-KD", "FeaK", "here ResK"),
    }


@pytest.mark.parametrize(
    ("title", "knowledge"), [("CRD + KD", "ResK, RelK"), ("IRG", "RelK"), ("FSP", "FeaK, RelK"), ("SSKD", "ResK, RelK")]
)
def test_other_rows_have_the_labels_of_the_methods_themselves(published_lines: list[Line], title: str, knowledge: str):
    rows = [line for line in published_lines if line.cells["method"].text == title]
    assert {row.cells["knowledge"].text for row in rows if row.cells["survey"].value is None} == {knowledge}


def measured_lines(results: Path, method: dict[str, Any], **changes: Any) -> list[Line]:
    """The lines of CIFAR-100 with one method on one pair."""
    suite = load_suite("cifar100")
    labels = load_test_labels(suite)
    pair = ("wrn_40_2", "wrn_16_2")
    entries = [make_entry(suite, labels, method, pair, seed, 0.75, **changes) for seed in range(3)]
    write_results(results / "cifar100" / method["name"], entries)
    return survey_table("cifar100", [(b, standings(b, [])) for b in make_boards(read_store(results, None))]).lines


def test_several_teachers_stand_where_one_does_measured_or_published(tmp_path: Path):
    lines = measured_lines(tmp_path, make_method("aekd", families=["multi_teacher"]))
    rows = [line for line in lines if line.cells["method"].text == "AE-KD"]
    assert [row.cells["kdbench"].value is None for row in rows] == [True, False]
    assert {row.section for row in rows} == {"Offline distillation"}
    assert [row.cells["knowledge"].text for row in rows] == ["FeaK", "ResK"]  # the survey's print, ours


@pytest.mark.parametrize(("variant", "title"), [({}, "FastDFKD (10 steps)"), ({"iterations": 2}, "FastDFKD (2 steps)")])
def test_a_variant_stands_beside_the_published_variant(variant: dict[str, int], title: str, tmp_path: Path):
    lines = measured_lines(tmp_path, make_method("fastdfkd", families=["data_free"]), variant=variant)
    [row] = [line for line in lines if line.cells["kdbench"].value is not None]
    assert row.cells["method"].text == title
    assert row.cells["others"].value is not None
    assert row.section == "Data-free distillation"
    assert row.paper == "fastdfkd"


@pytest.mark.parametrize(("mine", "plains"), [([0, 1], [0, 1, 2]), ([0, 1, 2], [1, 2]), ([0], [1, 2])])
def test_the_baseline_is_the_plain_students_over_its_own_seeds(mine: list[int], plains: list[int], tmp_path: Path):
    suite = load_suite("cifar100")
    labels = load_test_labels(suite)
    written = {}
    for name, teacher, seeds in (("unheard_of", "wrn_40_2", mine), ("vanilla", None, plains)):
        method, pair = make_method(name), (teacher, "wrn_16_2")
        written[name] = [make_entry(suite, labels, method, pair, seed, 0.7 + 0.02 * seed) for seed in seeds]
        write_results(tmp_path / "cifar100" / name, written[name])
    boards = [(board, standings(board, [])) for board in make_boards(read_store(tmp_path, None))]
    lines = survey_table("cifar100", boards).lines
    [row] = [line for line in lines if line.cells["method"].href == "method/unheard_of.html"]
    tops = [entry.record.main.metrics.top1 for entry in written["vanilla"]]
    assert part(row, "student", "baseline") == pytest.approx(np.mean(tops))
