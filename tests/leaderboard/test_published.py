"""The published tables: all rows, the survey's own arithmetic, and the names by which they are matched."""

from __future__ import annotations

import pytest

from kdbench.plugins import list_plugins, load_method
from kdbench_leaderboard.published import (
    BLOCKS,
    KNOWLEDGE,
    datasets,
    entries,
    method_names,
    names_of_rows,
    network,
    of_method,
    published,
    survey,
)


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
        ("ResNet20-x0.5", "resnet20_x0_5"),
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


IMPLEMENTED = [(name.method, method) for name in method_names().values() if name.rows for method in name.measured_by]


@pytest.mark.parametrize(("name", "method"), IMPLEMENTED)
def test_the_taxonomy_of_what_kdbench_implements_is_that_of_its_methods(name: str, method: str):
    about, own = method_names()[name], load_method(method)
    assert (about.scheme, about.knowledge, about.families) == (own.scheme, list(own.knowledge), list(own.families))


def test_what_kdbench_implements_under_a_published_name_is_mapped():
    same = method_names().keys() & list_plugins().keys()
    assert {method for _, method in IMPLEMENTED} == same | {"deit", "dml_mixed", "dot", "fastdfkd", "mixup", "snapshot"}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("kd", "kd"),
        ("dml_mixed", "dml"),
        ("snapshot", "snapshot_sd"),
        ("mixup", "mixup_aug"),
        ("tfkd_self", "tfkd_self"),
        ("tfkd_reg", "tfkd_reg"),
        ("fastdfkd[iterations=5]", "fastdfkd_5"),
    ],
)
def test_a_row_stands_beside_what_was_published_of_it(row: str, name: str):
    assert names_of_rows()[row] == name


def test_fastdfkd_stands_beside_the_published_number_of_its_steps():
    steps = load_method("fastdfkd").Params().iterations
    assert names_of_rows()["fastdfkd"] == f"fastdfkd_{steps}"


@pytest.mark.parametrize(
    ("method", "count"), [("fastdfkd", 33), ("snapshot", 1), ("mixup", 1), ("dml", 14), ("dml_mixed", 14), ("aekd", 2)]
)
def test_a_method_finds_its_published_results_under_all_their_names(method: str, count: int):
    assert len(of_method(method)) == count


def test_images_that_the_teacher_labels_are_another_method_than_augmentation():
    with_teacher = [p for p in published() if p.method.endswith("_teacher_aug") or p.method == "imgnet32_aug"]
    assert {p.source.name for p in with_teacher} == {"supermix_readme"}
    assert {method_names()[p.method].scheme for p in with_teacher} == {"offline"}
    assert all("extra augmentation" in p.flags for p in with_teacher)


@pytest.mark.parametrize(
    ("method", "block"),
    [
        ("aekd", "offline"),
        ("ctkd_collaborative", "offline"),
        ("zskt", "data_free"),
        ("mixup_aug", "other"),
        ("cutmix_aug_kd", "other"),
        ("label_smoothing", "other"),
        ("snapshot_sd", "self"),
        ("dml", "online"),
    ],
)
def test_blocks_follow_from_scheme_and_families(method: str, block: str):
    assert method_names()[method].block == block


def test_what_kdbench_does_not_implement_has_the_surveys_labels():
    for row in survey():
        name = method_names()[row.key[0]]
        if not name.rows:
            assert {KNOWLEDGE[kind] for kind in name.knowledge} == set(row.knowledge.split(", "))
