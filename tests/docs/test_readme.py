"""Both READMEs give the same commands, and name the same files."""

from __future__ import annotations

import re
from pathlib import Path

ENGLISH, CHINESE = Path("README.md"), Path("README.zh-CN.md")


def commands(readme: Path) -> list[str]:
    """What a reader may type: lines of code blocks and code in backticks that begin with a program's name."""
    text = readme.read_text(encoding="utf-8")
    lines = re.findall(r"^    ((?:kdbench|pip) [^#\n]*?)\s*(?:#.*)?$", text, re.MULTILINE)
    flat = re.sub(r"\s+", " ", text)
    return [*lines, *re.findall(r"`(kdbench [a-z][^`]*)`", flat)]


def links(readme: Path) -> set[str]:
    return {link for link in re.findall(r"\]\(([^)#]+)", readme.read_text(encoding="utf-8")) if "README" not in link}


def test_the_commands_of_both_are_equal():
    assert len(commands(ENGLISH)) > 10
    assert sorted(commands(CHINESE)) == sorted(commands(ENGLISH))


def test_what_the_chinese_one_links_to_exists_and_is_in_the_other():
    assert links(CHINESE) <= links(ENGLISH)
    assert [link for link in links(CHINESE) if not Path(link).exists()] == []


def test_each_leads_to_the_other_and_to_the_place_to_learn():
    assert "](README.zh-CN.md)" in ENGLISH.read_text(encoding="utf-8")
    assert "](README.md)" in CHINESE.read_text(encoding="utf-8")
    assert all("](docs/learning.md)" in readme.read_text(encoding="utf-8") for readme in (ENGLISH, CHINESE))
