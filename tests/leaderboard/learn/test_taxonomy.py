"""The survey's rows in plain words: all of them, each with a method, a relative or a reason."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdbench_leaderboard.learn import taxonomy
from kdbench_leaderboard.learn.taxonomy import REASONS, families_of, taxonomy_rows, taxonomy_table

RAW = re.compile(r"=|\bSec\.|\bTable \d|ResK|FeaK|RelK|L_[A-Z]|knowledge=")


def test_each_row_of_the_survey_has_one_answer():
    assert len(taxonomy_rows()) == 218
    for row in taxonomy_rows():
        assert [bool(row.here), bool(row.near), bool(row.why)].count(True) == 1, row
        assert row.why in ("", *REASONS)


def test_methods_that_are_named_exist():
    names = {point.name for point in entry_points(group="kdbench.methods")}
    assert {row.here or row.near for row in taxonomy_rows()} - {""} <= names


def test_words_are_words():
    for row in taxonomy_rows():
        assert not RAW.search(row.english), row
        assert len(row.english) > 5
        assert re.search("[\u4e00-\u9fff]{3}", row.chinese), row


def test_a_method_leads_to_its_page_and_a_reason_is_said():
    table = taxonomy_table({"kd"})
    cells = {
        line.cells["citation"].text: line.cells["here"]
        for line in table.lines
        if line.cells["family"].text == "response"
    }
    assert cells["Hinton et al., 2015"].href == "method/kd.html"
    assert cells["Ba and Caruana, 2014"].href is None  # not measured on this site
    assert cells["Chen et al., 2017"].tags[0][0] == "another task"


def test_a_table_that_lost_a_row_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(taxonomy, "taxonomy", lambda: [("response", "KD", "Hinton", "")])
    taxonomy_rows.cache_clear()
    with pytest.raises(ValueError, match="differ in their rows"):
        taxonomy_rows()


def test_the_page_shows_every_row(site: Path):
    page = (site / "learn" / "map.html").read_text(encoding="utf-8")
    assert page.partition('<table id="taxonomy"')[2].count("<tr data-paper") == 218


@pytest.mark.parametrize(
    ("name", "own", "families"),
    [("sp", (), ["graph"]), ("at", (), ["attention"]), ("kd", (), []), ("dafl", ("data_free",), ["data_free"])],
)
def test_what_carries_the_knowledge_is_a_family_as_the_survey_has_it(
    name: str, own: tuple[str, ...], families: list[str]
) -> None:
    assert families_of(SimpleNamespace(name=name, families=own)) == families  # type: ignore[arg-type]
