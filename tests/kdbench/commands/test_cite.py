"""BibTeX of methods: each paper once, and nothing in a plugin's text ends the field that it stands in."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from kdbench import __version__
from kdbench.commands.cite import bibtex, cite
from kdbench.errors import KdbenchError
from kdbench.method import Paper

ROOT = Path(__file__).parents[3]


def test_methods_the_survey_and_kdbench_are_cited(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    cite(["kd", "crd", "crd_kd", "vanilla"], said.append)
    shown = capsys.readouterr().out
    assert re.findall(r"(?m)^@\w+\{(\w+),", shown) == ["kd", "crd", "gou2021survey", "kdbench"]
    assert "title = {{Distilling the Knowledge in a Neural Network}}" in shown
    assert "eprint = {1503.02531}" in shown
    assert f"version = {{{__version__}}}" in shown
    assert said == ["vanilla has no paper."]


def test_a_title_cannot_end_its_field() -> None:
    entry = bibtex("x", Paper("A } % title\n}, note = {\\input{x}} 5 % & more", "A. B, C_D", 2020))
    assert entry.count("\n") == 5
    depth = 0
    for character in entry:  # BibTeX counts braces, escaped or not
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0
    assert r"C\_D" in entry


def test_an_unknown_method_is_a_mistake() -> None:
    with pytest.raises(KdbenchError, match="Did you mean 'crd'"):
        cite(["crdd"], print)


def test_the_citation_file_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in text
