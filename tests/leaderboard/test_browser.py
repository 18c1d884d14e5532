"""The site as a person meets it, in headless Chromium: from disk and from a server, with a mouse and with keys."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic_records import make_entry, make_method, write_method
from kdbench.records.reader import read_results
from kdbench.records.store import finish_cell
from kdbench.suite import Suite
from kdbench_leaderboard.build import build

BOARD = "suite/digits/index.html"


def rows_of(page: Any, table: str, column: str) -> list[str]:
    """The visible texts of one column."""
    return page.evaluate(
        """([id, key]) => { const t = document.getElementById(id);
            const i = [...t.tHead.rows[0].cells].findIndex((c) => c.dataset.key === key);
            const rows = [...t.tBodies].flatMap((b) => [...b.rows]).filter((r) => !r.hidden);
            return rows.map((r) => r.cells[i].innerText.trim()); }""",
        [table, column],
    )


def names(page: Any) -> list[str]:
    return [text.split()[0] for text in rows_of(page, "board", "method")]


def download(page: Any, kind: str, table: str = "board") -> str:
    page.click(f"[data-table={table}] details.menu:has([data-download]) summary")
    with page.expect_download() as waiting:
        page.click(f"[data-table={table}] [data-download={kind}]")
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def see_figures(page: Any) -> int:
    """Scroll to each figure until it is drawn; how many there are."""
    canvases = page.locator("[data-figure]")
    for n in range(canvases.count()):
        canvases.nth(n).scroll_into_view_if_needed()
        page.wait_for_selector(f"[data-figure] >> nth={n} >> .main-svg >> nth=0", state="attached")
    if canvases.count():
        page.wait_for_timeout(100)
    return int(canvases.count())


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.slow
def test_pages_of_every_kind_open_from_disk_without_a_complaint(site: Path, open_page: Any):
    """Of each folder some: the hundred pages of methods that others published are of one template."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(site.rglob("*.html")):
        by_folder.setdefault(path.parent, []).append(path)
    measured = [site / "method" / f"{name}.html" for name in ("vanilla", "kd", "good", "peers", "half")]
    some = [path for paths in by_folder.values() for path in paths[:: max(1, len(paths) // 12)]]
    page = open_page((site / "index.html").as_uri())
    for path in {*some, *measured, *site.glob("*.html")}:
        page.goto(path.as_uri())
        assert page.locator("h1").inner_text()
        assert see_figures(page) == page.locator("[data-figure] .plot-container").count()


def test_every_page_opens_from_a_server_without_a_complaint(site: Path, address: str, open_page: Any):
    page = open_page(f"{address}/index.html")
    for path in ("index.html", BOARD, "survey/cifar100.html", "method/good.html", "pair/digits/vit/resnet8_w4.html"):
        page.goto(f"{address}/{path}")
        assert page.locator("h1").inner_text()


def test_numbers_on_the_page_equal_those_of_the_records(site: Path, results: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    shown = dict(zip(names(page), rows_of(page, "board", "accuracy"), strict=True))
    gains = dict(zip(names(page), rows_of(page, "board", "gain"), strict=True))
    means = {}
    for name in ("good", "kd", "bad"):
        entries = read_results(results / "digits" / name)
        assert len(entries) == 15
        means[name] = np.mean([100 * (e.evidence.rank == 0).mean() for e in entries if e.evidence])
        assert shown[name].split(" ± ")[0] == f"{means[name]:.2f}"
    plain = {e.record.student: [] for e in read_results(results / "digits" / "vanilla")}
    for e in read_results(results / "digits" / "vanilla"):
        plain[e.record.student].append(e.record.main.metrics.top1)
    students = ("resnet8_w8", "resnet8_w4", "vit_w32")
    baseline = np.mean([np.mean(plain[student]) for student in students])
    for name, mean in means.items():
        assert gains[name].split(" [")[0] == f"{mean - baseline:+.2f}"


def test_sorting_by_click_and_by_key_and_its_permalink(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    usual = names(page)
    page.click("#board th[data-key=method] button")
    assert names(page) == sorted(usual)
    assert page.locator("#board th[data-key=method]").get_attribute("aria-sort") == "ascending"
    page.focus("#board th[data-key=method] button")
    page.keyboard.press("Enter")
    assert names(page) == sorted(usual, reverse=True)
    again = open_page(page.url)
    assert names(again) == sorted(usual, reverse=True)
    page.keyboard.press("Enter")
    assert names(page) == usual
    assert "#" not in page.url


def test_numbers_sort_as_numbers_with_what_is_missing_last(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.click("#board th[data-key=accuracy] button")
    values = [text.split()[0] for text in rows_of(page, "board", "accuracy")]
    known = [float(value) for value in values if value != "–"]
    assert known == sorted(known, reverse=True)
    assert values[len(known) :] == ["–"]  # the incomplete row


def test_filters_combine_and_live_in_the_address(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.select_option("[data-filter=scheme]", "offline")
    assert set(names(page)) == {"kd", "good", "bad", "half"}
    page.fill("[data-search]", "goo")
    assert names(page) == ["good"]
    assert page.locator("[data-count]").inner_text() == "1 of 8 rows"
    again = open_page(page.url)
    assert names(again) == ["good"]
    assert again.input_value("[data-search]") == "goo"


def test_a_pair_can_be_chosen_and_columns_hidden(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.select_option("[data-view]", "resnet8:vit_w32")
    page.locator("#board th[data-key='g resnet8:vit_w32']").wait_for()  # columns are fetched when asked for
    assert "half" not in names(page)  # it has no record there
    assert page.locator("#board th[data-key=gain]").is_hidden()
    page.select_option("[data-view]", "all")
    page.click("summary:has-text('Columns')")
    page.check("[data-column=nll]")
    page.uncheck("[data-column=scheme]")
    page.locator("#board th[data-key=nll]").wait_for()
    again = open_page(page.url)
    again.locator("#board th[data-key=nll]").wait_for()
    assert again.locator("#board th[data-key=scheme]").is_hidden()


def test_downloads_hold_what_is_shown(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.fill("[data-search]", "good")
    (head, line) = csv.reader(io.StringIO(download(page, "csv")))
    row = dict(zip(head, line, strict=True))
    assert row["Method"] == "good"
    gain = "Over the plain student"
    assert float(row[f"{gain} low"]) < float(row[gain]) < float(row[f"{gain} high"])
    assert row[f"{gain} verdict"] == row["Against KD verdict"] == "better"
    (entry,) = json.loads(download(page, "json"))
    assert entry[gain]["value"] == float(row[gain])
    latex = download(page, "latex")
    assert "\\begin{longtable}" in latex
    assert "\\endhead" in latex
    assert "$\\pm$" in latex
    bibtex = download(page, "bibtex")
    assert bibtex.startswith("@misc{good,")
    assert "author = {Ada Lovelace and Alan Turing}" in bibtex
    assert "@misc{kdbench," in bibtex
    assert "Knowledge Distillation: A Survey" in bibtex


def test_downloads_hold_names_and_tags_apart(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    tags = {row["Method"]: row["Method tags"] for row in csv_rows(download(page, "csv"))}
    assert tags["peers"] == "deviates"
    assert tags["smoothing"] == "control"
    assert tags["good"] == ""
    entries = {entry["Method"]: entry["Method tags"] for entry in json.loads(download(page, "json"))}
    assert entries == {name: [tag] if tag else [] for name, tag in tags.items()}
    latex = download(page, "latex").splitlines()
    head = latex[latex.index("\\toprule") + 1].split(" & ")
    at = head.index("Method")
    assert head[at + 1] == "Method tags"
    [line] = [row.split(" & ") for row in latex if " peers & " in row]
    assert line[at : at + 2] == ["peers", "deviates"]
    assert download(page, "bibtex").count("1503.02531") == 1  # these methods name one paper


def test_a_download_of_the_surveys_view_holds_each_number_apart(site: Path, open_page: Any):
    page = open_page((site / "survey/cifar100.html").as_uri())
    rows = csv_rows(download(page, "csv", "survey"))
    [dml] = [row for row in rows if (row["Methods"], row["Survey"]) == ("DML", "71.1")]
    assert (dml["Teacher"], dml["Teacher baseline"]) == ("MobileNet", "73.65")
    assert (dml["Student"], dml["Student baseline"]) == ("ResNet32", "68.99")
    assert (dml["Survey gain"], dml["Survey peer"], dml["Survey tags"]) == ("8.11", "76.13", "arithmetic")
    [cckd] = [row for row in rows if row["Methods"] == "CCKD"]
    assert (cckd["Knowledge"], cckd["Knowledge tags"]) == ("RelK, ResK", "here RelK")
    assert (cckd["Others"], cckd["Others gain"], cckd["Others baseline"]) == ("69.48", "0.42", "69.06")
    entries = json.loads(download(page, "json", "survey"))
    [dml] = [entry for entry in entries if (entry["Methods"], entry["Survey"]) == ("DML", 71.1)]
    assert (dml["Student"], dml["Survey peer"], dml["Survey tags"]) == ("ResNet32", 76.13, ["arithmetic"])
    assert "71.10 (+8.11) peer 76.13 & arithmetic" in download(page, "latex", "survey")


def test_light_and_dark_follow_the_system_and_then_the_visitor(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri(), color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(22, 26, 34)"
    page.click("#theme")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.goto((site / "index.html").as_uri())
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_home_shows_the_suite_that_is_chosen(results: Path, suite: Suite, tmp_path: Path, open_page: Any):
    shutil.copytree(results, tmp_path / "results")
    write_method(tmp_path / "results", suite.model_copy(update={"name": "strange"}), make_method("newcomer"), 0.9)
    build(tmp_path / "site", tmp_path / "results", None)
    page = open_page((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("section:visible h2").all_inner_texts() == ["Handwritten digits, 8 x 8"]
    page.select_option("[data-choose]", "strange")
    assert page.locator("section:visible h2").all_inner_texts() == ["strange"]
    page.go_back()
    assert page.locator("section:visible h2").all_inner_texts() == ["Handwritten digits, 8 x 8"]
    page.go_forward()
    again = open_page(page.url)
    assert again.locator("section:visible tbody th").all_inner_texts() == ["newcomer"]


def test_your_own_runs_are_marked_as_yours(
    results: Path, suite: Suite, labels: np.ndarray, tmp_path: Path, open_page: Any
):
    for pair in suite.pairs:
        for seed in range(suite.seeds):
            entry = make_entry(suite, labels, make_method("mine"), (pair.teacher, pair.student), seed, 0.98)
            finish_cell(tmp_path / "runs" / "digits" / "mine" / entry.record.key[:16], entry.record, entry.evidence)
    build(tmp_path / "site", results, tmp_path / "runs")
    page = open_page((tmp_path / "site" / BOARD).as_uri())
    assert "mine yours" in rows_of(page, "board", "method")
    assert {row["Method"]: row["Method tags"] for row in csv_rows(download(page, "csv"))}["mine"] == "yours"
    page.goto((tmp_path / "site" / "method/mine.html").as_uri())
    assert page.locator("[data-figure=curves]").is_visible()  # your records have their curves
    assert "place" in page.locator(".stands").first.inner_text()
    assert "+1.00" in rows_of(page, page.locator("[id^=numbers-]").first.get_attribute("id"), "best")


def test_print_is_dark_on_white_whatever_the_theme(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri(), color_scheme="dark")
    assert see_figures(page)
    page.emulate_media(media="print")
    page.wait_for_timeout(1500)  # (the page's policy forbids Playwright's wait_for_function)
    text = "getComputedStyle(document.querySelector('[data-figure] .xtick text')).fill"
    assert page.evaluate(text) == "rgb(31, 36, 48)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".tools >> nth=0").is_hidden()


@pytest.mark.parametrize("path", ["index.html", BOARD, "survey/cifar100.html", "method/good.html", "submit.html"])
def test_on_a_phone_only_tables_scroll_sideways(site: Path, path: str, open_page: Any):
    page = open_page((site / path).as_uri(), viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("path", ["index.html", BOARD, "survey/cifar100.html"])
def test_nothing_shifts_while_a_page_loads(site: Path, path: str, open_page: Any):
    page = open_page((site / path).as_uri())
    page.wait_for_timeout(500)
    shift = page.evaluate(
        """() => new Promise((done) => { let sum = 0;
            const add = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; };
            new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 300); })"""
    )
    assert shift < 0.1  # "good" of the Core Web Vitals


def test_a_seeds_number_leads_to_its_record_and_its_command(site: Path, open_page: Any):
    page = open_page((site / "pair/digits/resnet8/vit_w32.html").as_uri())
    page.click("#pair tbody tr >> nth=0 >> a >> nth=1")
    page.wait_for_selector("#record h2")
    assert "good, resnet8 → vit_w32, seed 0" in page.inner_text("#record h2")
    assert "kdbench run --method good --suite digits --pair resnet8:vit_w32 --seeds 0," in page.inner_text(
        "#record pre"
    )


def test_a_record_shows_its_further_networks_and_what_it_spent(site: Path, open_page: Any):
    page = open_page((site / "method/peers.html").as_uri())
    assert re.search(r"peer 1 \d\d\.\d\d", page.inner_text("[id^=numbers-]"))
    page.click("[id^=numbers-] tbody tr >> nth=0 >> a[href*=cell] >> nth=0")
    page.wait_for_selector("#record h2")
    text = page.inner_text("#record")
    assert re.search(r"peer 1\s+\w+: \d\d\.\d\d %, [\d,]+ parameters", text)
    assert "2.00e+9" in text
    assert "6,000 forward, 6,000 backward" in text


@pytest.mark.parametrize("state", ["suite=..&method=..&key=0", "suite=digits&method=../../x&key=12345678", "suite=a"])
def test_a_crafted_address_loads_no_script(site: Path, state: str, open_page: Any):
    page = open_page((site / "cell.html").as_uri() + "#" + state)
    page.wait_for_selector("#record .note")
    assert "No such record" in page.inner_text("#record")


def test_tables_can_be_read_by_a_screen_reader(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    assert page.locator("#board caption").inner_text()
    assert page.locator("#board tbody th[scope=row]").count() == 8
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, a")].filter((e) => !e.closest("[data-figure]") &&
            !(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels.length))
            ).map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.get_attribute("html", "lang") == "en"
