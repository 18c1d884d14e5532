"""The folder: whole, self-contained, safe against what records say, and never built over something else."""

from __future__ import annotations

import html.parser
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.errors import KdbenchError
from kdbench.records.store import find_runs
from kdbench.suite import Suite
from kdbench_leaderboard import paths
from kdbench_leaderboard.build import build, command, write
from kdbench_leaderboard.page import script
from kdbench_leaderboard.read import Found


class Links(html.parser.HTMLParser):
    """All addresses of a page, its identifiers, and its inline scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for name in ("href", "src") if (value := values.get(name))]
        self.ids |= {value for value in [values.get("id")] if value}
        self.inline += tag == "script" and not values.get("src")
        assert not any(name.startswith("on") for name in values), attrs


def pages(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def test_every_link_leads_somewhere_and_nothing_is_fetched_from_elsewhere(site: Path):
    for page in pages(site):
        found = Links(page.read_text(encoding="utf-8"))
        assert found.inline == 0
        for address in found.addresses:
            parts = urlsplit(address)
            if parts.scheme:
                assert parts.netloc in ("arxiv.org", "github.com"), address
                continue
            target = (page.parent / unquote(parts.path)) if parts.path else page
            assert target.is_file(), f"{page.name}: {address}"
            assert target.resolve().is_relative_to(site.resolve())


def test_there_is_one_plotly_for_the_whole_site_and_home_is_light(site: Path):
    assert [p.relative_to(site).as_posix() for p in sorted(site.rglob("*plotly*"))] == [
        "static/plotly-cartesian.LICENSE",
        "static/plotly-cartesian.min.js",
    ]
    assert "plotly" not in (site / "index.html").read_text()
    weight = sum((site / name).stat().st_size for name in ("index.html", "static/site.js", "static/style.css"))
    assert weight < 500_000


def test_each_pair_method_and_suite_has_its_page(site: Path):
    found = {page.relative_to(site).as_posix() for page in pages(site)}
    assert {"index.html", "suite/digits/index.html", "survey/cifar10.html", "survey/cifar100.html"} <= found
    assert {"method/good.html", "pair/digits/vit/resnet8_w4.html", "cell.html", "state.html", "submit.html"} <= found


def test_without_results_the_site_says_how_to_begin(tmp_path: Path):
    (tmp_path / "results").mkdir()
    build(tmp_path / "site", tmp_path / "results", tmp_path / "runs")
    home = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "No results yet" in home
    assert "kdbench run --method kd" in home
    assert "Traceback" not in home


def test_a_site_is_replaced_and_anything_else_is_not(tmp_path: Path, results: Path):
    out = tmp_path / "site"
    build(out, results, None)
    (out / "method" / "stale.html").touch()
    build(out, results, None)
    assert not (out / "method" / "stale.html").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(KdbenchError, match="no site of kdbench"):
        build(precious, results, None)
    assert (precious / "thesis.tex").exists()


def test_the_same_records_give_the_same_site(tmp_path: Path, results: Path, site: Path):
    shutil.copytree(results, tmp_path / "elsewhere")
    build(tmp_path / "site", tmp_path / "elsewhere", None)
    for page in site.rglob("*"):
        if page.is_file():
            assert (tmp_path / "site" / page.relative_to(site)).read_bytes() == page.read_bytes(), page


@pytest.mark.parametrize(
    ("method", "pair", "changes", "said"),
    [
        ("kd", ("resnet8", "resnet8_w8"), {}, "--suite digits --pair resnet8:resnet8_w8 --seeds 2,"),
        ("vanilla", (None, "vit_w32"), {}, "--suite digits --pair resnet8:vit_w32 --seeds 2,"),
        ("kd", ("resnet8", "vit_w32"), {"variant": {"flip": False}}, "--seeds 2, --set flip=false"),
        ("kd", ("resnet8", "vit_w32"), {"variant": {"name": "a b"}}, "--set 'name=\"a b\"'"),
        ("kd", ("resnet8", "vit_w32"), {"off_protocol": ["epochs: 3"]}, "--seeds 2, --epochs 60"),
    ],
)
def test_the_command_of_a_record_repeats_it(
    method: str, pair: tuple[str | None, str], changes: dict[str, Any], said: str, suite: Suite, labels: np.ndarray
):
    variant = changes.get("variant", {})
    entry = make_entry(suite, labels, make_method(method), pair, 2, 0.9, **changes, params=variant)
    assert said in command(Found(entry.record, "yours", None, {}))


def test_a_command_of_ones_own_suite_names_its_file(suite: Suite, labels: np.ndarray):
    mine = suite.model_copy(update={"name": "mine"})
    entry = make_entry(mine, labels, make_method("kd"), ("resnet8", "vit_w32"), 0, 0.9)
    assert "--suite mine.toml --pair resnet8:vit_w32" in command(Found(entry.record, "yours", None, {}))


def test_a_folder_at_the_wrong_level_is_told(results: Path, tmp_path: Path):
    with pytest.raises(KdbenchError, match="holds the results of one suite"):
        build(tmp_path / "site", results / "digits", None)
    (tmp_path / "runs" / "kd" / "0123456789abcdef").mkdir(parents=True)
    (tmp_path / "runs" / "kd" / "0123456789abcdef" / "record.json").touch()
    with pytest.raises(KdbenchError, match="holds the records of one suite"):
        find_runs(tmp_path / "runs")


def test_data_scripts_hold_no_markup_and_no_line_separators():
    hostile = "</script><script>alert(1)</script>\u2028\u2029&<!--"
    text = script("name", {"value": hostile})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text[len('kdbench.receive("name",') : -3]) == {"value": hostile}


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "", "A", "a\n", "a" * 101, "%2e%2e", "a\\b"])
def test_paths_are_made_of_checked_names_alone(name: str, tmp_path: Path):
    with pytest.raises(ValueError, match="no name"):
        paths.slug(name)
    with pytest.raises(ValueError, match="leads out"):
        write(tmp_path, "../outside.html", "")


@pytest.mark.parametrize(
    "number", ["javascript:alert(1)", "1503.02531' onclick=", "", "1503.0253100", "//evil.example"]
)
def test_only_arxiv_numbers_become_links(number: str):
    assert paths.arxiv(number) is None
    assert paths.arxiv("1503.02531") == "https://arxiv.org/abs/1503.02531"


def small(results: Path, tmp_path: Path) -> Path:
    """Results of one row, which are soon made a site of."""
    shutil.copytree(results / "digits" / "vanilla", tmp_path / "results" / "digits" / "vanilla")
    return tmp_path / "results"


def test_what_lies_beside_a_site_stays(results: Path, tmp_path: Path):
    few = small(results, tmp_path)
    for name in ("site.partial", "site.old", ".site.kdbench"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("years of work")
    with pytest.raises(KdbenchError, match=r"\.site\.kdbench is in the way"):
        build(tmp_path / "site", few, None)
    shutil.rmtree(tmp_path / ".site.kdbench")
    build(tmp_path / "site", few, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site", "site.old", "site.partial"]
    assert (tmp_path / "site.partial" / "mine.txt").read_text() == "years of work"


def test_a_killed_build_leaves_a_whole_site_or_mends_it(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few, out = small(results, tmp_path), tmp_path / "site"
    build(out, few, None)
    (out / "earlier").touch()
    rename, calls = Path.rename, iter(range(9))

    def killed(self: Path, target: Path) -> Path:
        if next(calls) == 1:  # the old site is away, the new one not there yet
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            build(out, few, None)
    with monkeypatch.context() as patched:
        patched.setattr("kdbench_leaderboard.build.make_site", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # though this build fails, the old site is back
            build(out, few, None)
    assert (out / "earlier").is_file()
    build(out, few, None)
    assert (out / "index.html").is_file()
    assert not (out / "earlier").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "site"]


def test_a_site_behind_a_link_is_replaced_where_it_lies(results: Path, tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    build(tmp_path / "link", small(results, tmp_path), None)
    assert (tmp_path / "real" / "index.html").is_file()
    assert (tmp_path / "link").is_symlink()
