"""Names of rows say a method and the values of its parameters."""

from __future__ import annotations

import pytest

from kdbench.records.row_names import as_options, distinct_rows, same_row, split_outside_brackets


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("kd", "kd"),
        ("kd[temperature=2]", "kd[temperature=2.0]"),
        ("kd[temperature=2e0]", "kd[temperature=2]"),
        ("kd[a=1, b=two]", "kd[b=two,a=1.0]"),
        ("kd[weights=[1, 2], a=3]", "kd[a=3, weights=[1.0, 2.0]]"),
        ("kd[flag=true]", "kd[flag=True]"),
        ("kd[a=nan]", "kd[a=nan]"),
        ("kd[a={[1]}]", "kd[a={[1.0]}]"),
    ],
)
def test_names_are_equal_when_their_values_are(one: str, other: str) -> None:
    assert same_row(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("kd", "crd"), ("kd", "kd[a=1]"), ("kd[a=1]", "kd[a=2]"), ("kd[a=1]", "kd[b=1]"), ("kd[a=x]", "kd[a=(]")],
)
def test_names_of_other_values_differ(one: str, other: str) -> None:
    assert not same_row(one, other)


@pytest.mark.parametrize(
    "deep", ["[" * 5000, "-" * 5000 + "1", "(" * 5000 + ")" * 5000, "{[1]}", "1e999", "'"], ids=str.__len__
)
def test_any_text_is_a_name(deep: str) -> None:
    assert same_row(f"kd[a={deep}]", f"kd[a={deep}]")
    assert not same_row(f"kd[a={deep}]", "kd[a=1]")


def test_a_row_counts_once_and_is_called_as_it_is_named_first() -> None:
    assert distinct_rows(["kd[a=1]", "crd", "kd[a=1.0]", "crd"]) == ["kd[a=1]", "crd"]


def test_commas_within_brackets_part_nothing() -> None:
    assert list(split_outside_brackets("kd[a=1, b=[2, 3]], crd")) == ["kd[a=1, b=[2, 3]]", "crd"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("kd", "kd"),
        ("kd[temperature=2]", "kd --set temperature=2"),
        ("kd[b=[2, 3], a=1]", "kd --set 'b=[2, 3]' --set a=1"),
    ],
)
def test_a_name_is_the_options_that_train_its_row(name: str, options: str) -> None:
    assert as_options(name) == options
