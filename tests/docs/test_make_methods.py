"""The page of the methods is what their classes say."""

from __future__ import annotations

from docs.make_methods import COMMAND, PAGE, TITLES, page, section_of
from kdbench.plugins import list_plugins, load_method


def test_the_page_is_what_the_methods_say():
    assert PAGE.read_text(encoding="utf-8") == page(), f"docs/methods.md is out of date: run {COMMAND}"


def test_every_method_stands_in_a_section():
    mine = [name for name, found in list_plugins().items() if found[0].distribution == "kdbench"]
    assert {section_of(load_method(name)) for name in mine} <= set(TITLES)
