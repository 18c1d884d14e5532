"""The history says what came, changed and went; the feed is valid XML whatever records say."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from benchmarks.synthetic_records import make_method, write_method
from kdbench.suite import Suite
from kdbench_leaderboard.history import events, feed, xml
from kdbench_leaderboard.origin import Origin
from kdbench_leaderboard.page import Site, make_site
from kdbench_leaderboard.read import read_store

ATOM = "{http://www.w3.org/2005/Atom}"
HEAD = "| date | suite | row | version | protocol | status | reason |\n|---|---|---|---|---|---|---|\n"


def site_of(results: Path, copy: Path, suite: Suite, origin: Origin = Origin("https://example.org/")) -> Site:  # noqa: B008
    shutil.copytree(results, copy)
    write_method(copy, suite, make_method("newer", version=2), 0.9)
    line = f"| 2026-02-03 | digits | gone | 1 | {'0' * 12} | withdrawn | it was wrong |\n"
    (copy / "WITHDRAWN.md").write_text(HEAD + line, encoding="utf-8")
    return make_site(read_store(copy, None), origin)


def test_rows_come_change_and_go(results: Path, suite: Suite, tmp_path: Path):
    found = {(e.date, e.kind): e for e in events(site_of(results, tmp_path / "results", suite))}
    assert "good" in found["2026-01-02", "came"].rows
    assert found["2026-01-02", "changed"].rows == ("newer version 2",)
    assert found["2026-02-03", "went"].text == "went: gone version 1 (it was wrong)"


def test_the_feed_has_an_entry_a_day_the_latest_first(results: Path, suite: Suite, tmp_path: Path):
    site = site_of(results, tmp_path / "results", suite)
    root = ElementTree.fromstring(feed(site, events(site)))
    assert [e.findtext(f"{ATOM}updated") for e in root.iter(f"{ATOM}entry")] == [
        "2026-02-03T00:00:00Z",
        "2026-01-02T00:00:00Z",
    ]
    links = [link.attrib["href"] for link in root.iter(f"{ATOM}link")]
    assert all(link.startswith("https://example.org/") for link in links)


def test_what_xml_forbids_is_left_out():
    assert ElementTree.fromstring(f"<a>{xml('x<y>&' + chr(7) + chr(0x1B))}</a>").text == "x<y>&"
