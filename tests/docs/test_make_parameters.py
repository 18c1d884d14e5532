"""The table of parameters is what the methods and the suites have, and says where each value comes from."""

from __future__ import annotations

import json
import re

from docs.make_parameters import COMMAND, PAGE, page, read_rows
from kdbench.plugins import list_plugins, load_method
from kdbench.suites import list_suites, load_suite

ROWS = read_rows()
SUITES = {name: load_suite(name) for name in list_suites()}
DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cifar100-fast": "CIFAR-100",
    "cifar100-modal": "CIFAR-100",
    "cifar100-survey": "CIFAR-100",
    "cifar100-timm": "CIFAR-100",
    "imagenet": "ImageNet",
}


def test_the_page_is_what_the_table_and_the_suites_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"docs/parameters.md is out of date: run {COMMAND}"


def test_the_table_has_every_default_of_every_method() -> None:
    mine = [name for name, found in list_plugins().items() if found[0].distribution == "kdbench"]
    defaults = {(name, key): value for name in mine for key, value in load_method(name).Params().model_dump().items()}
    stated = [(row.method, row.parameter) for row in ROWS if not row.suites]
    assert len(stated) == len(set(stated))
    assert {(row.method, row.parameter): json.loads(row.value) for row in ROWS if not row.suites} == defaults


def test_the_table_has_every_value_that_a_suite_sets() -> None:
    stated = [setting for row in ROWS for setting in row.settings(SUITES)]
    assert len(stated) == len({setting[:4] for setting in stated})
    found = [
        (suite.name, method, pair, parameter, value)
        for suite in SUITES.values()
        for method, override in suite.methods.items()
        for pair, params in [("", override.params), *override.pairs.items()]
        for parameter, value in params.items()
    ]
    assert sorted(stated, key=str) == sorted(found, key=str)


def test_a_value_comes_from_a_file_at_a_commit_or_the_note_says_whence() -> None:
    for row in ROWS:
        if row.file:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", row.repository), row
            assert re.fullmatch(r"[0-9a-f]{7,40}", row.commit), row
            assert row.data, row
        else:
            assert row.note, row
            assert not row.repository + row.commit + row.data, row


def test_every_row_matters_on_each_of_its_suites_and_pairs() -> None:
    for row in ROWS:
        settings = list(row.settings(SUITES))
        assert {suite for suite, *_ in settings} == set(row.suites.split()), row
        assert not row.suites or {pair for _, _, pair, *_ in settings} == set(row.pairs.split() or [""]), row


def test_a_suite_says_paper_only_of_values_that_were_given_for_its_data() -> None:
    for row in ROWS:
        for suite in row.suites.split():
            if SUITES[suite].override(row.method, None)[1].source.startswith("paper"):
                assert row.data == DATA[suite], row


def test_values_for_single_pairs_are_what_the_suite_says_they_are() -> None:
    for suite in SUITES.values():
        for method, override in suite.methods.items():
            assert override.source != "paper per pair" or override.pairs, (suite.name, method)
            assert not override.pairs or load_method(method).reads_teacher(), (suite.name, method)
