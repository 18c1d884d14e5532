"""The published tables: all rows, the survey's own arithmetic, and the names by which they are matched."""

from __future__ import annotations

import pytest

from kdbench_leaderboard.published import BLOCKS, datasets, entries, method_names, network, of_method, published, survey


def test_every_published_result_ships_with_its_source():
    assert len(published()) == 1268
    assert all(printed.source.notes for printed in published())
    assert {printed.method for printed in published()} <= set(method_names())


def test_every_row_of_the_survey_is_shown_in_its_block():
    assert len(survey()) == 73
    for dataset in ("cifar10", "cifar100"):
        rows = [row for entry in entries(dataset).values() for row in entry.survey]
        assert sorted(map(id, rows)) == sorted(id(row) for row in survey() if row.dataset == dataset)
    assert {row.scheme for row in survey()} <= set(BLOCKS)
    assert all(method_names()[row.key[0]].block == row.scheme for row in survey())


def test_rows_are_matched_with_their_own_numbers():
    named = {p.key: p.accuracy for p in published() if p.source.name.startswith("gou2021_table6")}
    assert all(row.accuracy in [p.accuracy for p in published() if p.key == row.key] for row in survey())
    assert named["dml", "mobilenetv1", "resnet32"] == 71.10


def test_the_surveys_wrong_sums_are_those_that_its_notes_name():
    wrong = [
        row
        for row in survey()
        if row.student_accuracy and abs(row.accuracy - row.student_accuracy - row.improvement) > 0.006
    ]
    assert [(row.method, row.dataset) for row in wrong] == [
        ("ONE", "cifar10"),
        ("Rocket-KD", "cifar100"),
        ("DML", "cifar100"),
    ]
    assert all("printed improvement differs" in row.note for row in wrong)


@pytest.mark.parametrize(
    ("printed", "suite"),
    [
        ("WRN-40-2", "wrn_40_2"),
        ("MobileNet", "mobilenetv1"),
        ("densenet40_12", "densenet_40_12"),
        ("ResNet-32x4", "resnet32x4"),
    ],
)
def test_networks_are_matched_however_they_are_written(printed: str, suite: str):
    assert network(printed) == network(suite)


def test_flags_follow_from_what_sources_say():
    by_source = {p.source.name: p for p in published()}
    assert "best epoch" not in by_source["repdistiller_readme"].flags
    assert "best epoch" in by_source["logitstd_readme"].flags
    mixed = [p for p in published() if p.note == "extra mixed training images"]
    assert mixed
    assert all("extra augmentation" in p.flags for p in mixed)
    assert any("suspect" in p.flags for p in of_method("kd"))


def test_the_surveys_data_sets_come_first():
    assert datasets()[:2] == ["cifar10", "cifar100"]
