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


def test_each_pair_table_has_the_title_of_its_suite_in_sight(accepted: Path):
    page = (accepted / "method" / "crd.html").read_text(encoding="utf-8")
    tables = page.partition("<h2>On each pair</h2>")[2].partition("<h2>")[0]
    assert re.findall("<h3>(.*?)</h3>", tables) == re.findall("<caption>(.*?)</caption>", tables)
    assert "On CIFAR-100, a quarter of the images at 16 x 16" in re.findall("<h3>(.*?)</h3>", tables)


def test_what_is_measured_stands_among_published_numbers_under_its_suites_own_name(accepted: Path):
    page = (accepted / "method" / "crd.html").read_text(encoding="utf-8")
    rows = re.findall("<tr .*?</tr>", page.partition("<h2>Published numbers</h2>")[2])
    measured = [row for row in rows if "kdbench, cifar100-quarter" in row]
    assert measured
    assert all('data-dataset="cifar100-quarter"' in row and ">cifar100-quarter<" in row for row in measured)
