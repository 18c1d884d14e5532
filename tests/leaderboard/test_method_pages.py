"""The list of methods and their pages: what was published of what is measured here, under whatever name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.suite import Suite
from kdbench_leaderboard.build import build


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    """A site with methods that others published under other names."""
    folder = tmp_path_factory.mktemp("renamed")
    for name in ("vanilla", "mixup", "snapshot", "tfkd_reg", "fastdfkd"):
        write_method(folder / "results", suite, make_method(name), 0.9)
    build(folder / "site", folder / "results", None)
    return folder / "site"


def absent(pages: Path) -> list[str]:
    """The list 'Published, not measured here'."""
    page = (pages / "methods.html").read_text(encoding="utf-8")
    return re.findall(r'<a class="tag"[^>]*>([^<]+)</a>', page.partition("Published, not measured here")[2])


def test_what_is_measured_under_another_name_is_not_said_to_be_absent(pages: Path):
    listed = absent(pages)
    assert {"Mixup", "SD (snapshot)", "Tf-KD", "Tf-KD (regularisation)", "Plain student"}.isdisjoint(listed)
    assert not [name for name in listed if name.startswith("FastDFKD")]
    assert {"AdaIN", "CutMix", "Tf-KD (self)", "KD", "Mixup, labelled by the teacher"} <= set(listed)
    assert "KD + CE" not in listed  # nobody published it
    assert len(listed) == len(set(listed))


def test_published_results_of_other_names_are_counted_and_shown(pages: Path):
    listing = (pages / "methods.html").read_text(encoding="utf-8")
    [row] = [line for line in listing.splitlines() if 'data-paper="fastdfkd"' in line]
    assert 'data-value="33"' in row
    page = (pages / "method" / "fastdfkd.html").read_text(encoding="utf-8")
    assert page.count("FastDFKD (5 steps)") == 10
    assert "Published as" in page
    assert "Published as" not in (pages / "method" / "snapshot.html").read_text(encoding="utf-8")
