"""Pages can be used before their figures have loaded, on slow lines, on phones, with keys, and on paper."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.records.reader import read_results

BOARD = "suite/digits/index.html"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_figures_load_when_they_come_into_view(site: Path, address: str, open_page: Any):
    fetched: list[str] = []
    page = open_page("about:blank", viewport={"width": 1280, "height": 700})
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{address}/{BOARD}")
    page.wait_for_timeout(500)
    assert not [url for url in fetched if "plotly" in url or "/figures/" in url]
    page.locator("[data-figure]").first.scroll_into_view_if_needed()
    page.wait_for_selector("[data-figure] .main-svg")
    assert [url for url in fetched if "plotly" in url]


def test_on_a_slow_line_and_processor_the_table_works_before_any_figure(site: Path, address: str, open_page: Any):
    page = open_page("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
    session.send("Network.emulateNetworkConditions", slow)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    began = time.monotonic()
    page.goto(f"{address}/{BOARD}", wait_until="commit")
    page.wait_for_selector("[data-count]:has-text('rows')")
    page.click("#board th[data-key=method] button")
    page.wait_for_selector("#board th[data-key=method][aria-sort]")
    spent = time.monotonic() - began
    assert page.locator("[data-figure] .main-svg").count() == 0
    assert spent < 20  # how long it takes is measured by benchmarks/site_speed.py; this machine may be busy


def test_the_server_compresses_what_is_text(site: Path, address: str, open_page: Any):
    page = open_page("about:blank")
    response = page.goto(f"{address}/{BOARD}")
    assert response.headers["content-encoding"] == "gzip"
    assert int(response.headers["content-length"]) < (site / BOARD).stat().st_size / 3


@pytest.mark.parametrize("path", ["cell", "suite/digits/index.html", "choose.html", "compare.html"])
def test_nothing_shifts(site: Path, path: str, open_page: Any):
    page = open_page((site / "pair/digits/resnet8/vit_w32.html").as_uri())
    record = str(page.get_attribute("#pair tbody a[href*='cell.html']", "href")).removeprefix("../../../")
    page.goto("about:blank")
    file, _, state = (record if path == "cell" else path).partition("#")
    page.goto((site / file).as_uri() + (f"#{state}" if state else ""))
    page.wait_for_timeout(500)
    shift = page.evaluate(
        """() => new Promise((done) => { let sum = 0;
            const add = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; };
            new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 300); })"""
    )
    assert shift < 0.02


@pytest.mark.parametrize(
    "path",
    ["index.html", BOARD, "pair/digits/resnet8/vit_w32.html", "method/good.html", "methods.html",
     "survey/cifar100.html", "survey/cifar10-all.html", "method/dkd.html"],
)  # fmt: skip
def test_on_a_phone_every_table_shows_a_number_at_first(site: Path, path: str, open_page: Any):
    page = open_page((site / path).as_uri(), **PHONE)
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("[data-table] table")].filter((table) => {
            const cells = [...table.querySelectorAll("tbody tr:not(.section):not([hidden]) td.number:not([hidden])")]
                .filter((cell) => cell.offsetParent && cell.dataset.value !== undefined);
            return cells.length && !cells.some((cell) => cell.getBoundingClientRect().right <= 390);
        }).map((table) => table.id)"""
    )
    assert hidden == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("path", ["index.html", BOARD])
def test_on_a_phone_a_number_of_the_table_is_in_the_first_screen(accepted: Path, path: str, open_page: Any):
    page = open_page((accepted / path).as_uri(), **PHONE)
    first = page.locator("[data-table]:visible tbody td.number:visible").first.bounding_box()
    assert first is not None
    assert first["y"] + first["height"] <= 844


@pytest.mark.parametrize("path", ["index.html", "suite/digits/index.html", "suite/digits-distilled/index.html"])
def test_on_a_phone_verdicts_are_in_sight_and_nothing_is_wider_than_the_page(accepted: Path, path: str, open_page: Any):
    page = open_page((accepted / path).as_uri(), **PHONE)
    lines = page.locator("[data-table]:visible").first.locator("tbody tr:visible .beneath .mark")
    assert lines.count() > 3
    for box in (lines.nth(n).bounding_box() for n in range(4)):
        assert box["x"] + box["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("options", [{}, PHONE])
def test_a_button_covers_no_text(site: Path, options: dict[str, Any], open_page: Any):
    page = open_page((site / "survey/cifar100.html").as_uri(), **options)
    covered = page.evaluate(
        """() => { const button = document.querySelector("p .way"), box = button.getBoundingClientRect();
            const text = document.createTreeWalker(button.parentElement, NodeFilter.SHOW_TEXT), found = [];
            while (text.nextNode()) {
                const range = document.createRange();
                range.selectNodeContents(text.currentNode);
                if (!button.contains(text.currentNode)) found.push(...range.getClientRects());
            }
            return found.some((r) => r.left < box.right - 1 && r.right > box.left + 1
                && r.top < box.bottom - 1 && r.bottom > box.top + 1); }"""
    )
    assert not covered


def test_what_stands_beneath_a_name_is_not_shown_of_a_pair(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri(), **PHONE)
    assert page.locator("#board .beneath:visible").count() > 0
    page.select_option("[data-table=board] [data-view]", index=1)
    page.wait_for_selector("#board.of-pair")
    assert page.locator("#board .beneath:visible").count() == 0


def test_columns_that_are_asked_for_stand_in_their_rows(results: Path, site: Path, open_page: Any):
    """They come from a script, for rows that may have been sorted by then."""
    page = open_page((site / BOARD).as_uri())
    page.click("#board th[data-key=method] button")
    assert page.locator("#board tbody tr").first.locator("> *").count() < page.locator("#board thead th").count()
    page.click("summary:has-text('Columns')")
    page.check("[data-column=ece]")
    page.wait_for_function("document.querySelector('#board tbody tr').cells.length > 20")
    shown = page.evaluate(
        """() => { const table = document.getElementById("board"), heads = [...table.tHead.rows[0].cells];
            const at = (key) => heads.findIndex((head) => head.dataset.key === key);
            const name = (row) => row.cells[at("method")].querySelector("a").textContent;
            const rows = [...table.tBodies[0].rows];
            return Object.fromEntries(rows.map((row) => [name(row), Number(row.cells[at("ece")].dataset.value)])); }"""
    )
    for name in ("good", "bad", "kd"):
        records = [entry.record for entry in read_results(results / "digits" / name)]
        assert shown[name] == pytest.approx(np.mean([record.main.metrics.ece for record in records]))


def test_back_undoes_a_filter_and_escape_returns_the_focus(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.select_option("[data-filter=scheme]", "online")
    assert page.locator("#board tbody tr:visible").count() == 1
    page.go_back()
    assert page.locator("#board tbody tr:visible").count() == 8
    assert page.input_value("[data-filter=scheme]") == ""
    page.focus("summary:has-text('Columns')")
    page.keyboard.press("Enter")
    page.focus("[data-column=nll]")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Columns"
    assert page.locator("details.menu[open]").count() == 0


def test_search_finds_names_and_titles_and_no_verdicts(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.fill("[data-table=board] [data-search]", "the paper of good")
    assert page.locator("#board tbody tr:visible th").all_inner_texts()[0].startswith("good")
    page.fill("[data-table=board] [data-search]", "better")
    assert page.locator("#board tbody tr:visible").count() == 0


def test_a_chosen_pair_sorts_table_and_figures(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri())
    page.locator("[data-figure=gains]").scroll_into_view_if_needed()
    page.wait_for_selector("[data-figure=gains] .main-svg")
    page.select_option("[data-view]", "resnet8:vit_w32")
    column = "#board tbody tr:visible td[data-value]"
    assert page.locator(column).count()
    key = "a resnet8:vit_w32"
    page.locator(f"#board th[data-key='{key}']").wait_for()  # columns are fetched when asked for
    values = page.evaluate(
        """(key) => { const t = document.getElementById("board");
            const i = [...t.tHead.rows[0].cells].findIndex((c) => c.dataset.key === key);
            return [...t.tBodies[0].rows].filter((r) => !r.hidden).map((r) => Number(r.cells[i].dataset.value)); }""",
        key,
    )
    assert values == sorted(values, reverse=True)
    page.wait_for_selector("[data-figure=gains] .xtitle:has-text('resnet8 → vit_w32')")


def test_the_meaning_of_a_tag_is_read_with_keys_and_fingers(site: Path, open_page: Any):
    page = open_page((site / BOARD).as_uri(), **PHONE)
    tag = page.locator("#board button.tag:has-text('deviates')")
    tag.scroll_into_view_if_needed()
    tag.tap()
    assert page.inner_text("#noted") == "two networks are trained"
    page.keyboard.press("Escape")
    assert page.locator("#noted").count() == 0
    tag.focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#noted") == "two networks are trained"


def test_on_paper_no_column_is_cut(site: Path, open_page: Any):
    page = open_page((site / "survey/cifar100.html").as_uri(), viewport={"width": 1047, "height": 700})
    page.emulate_media(media="print")
    wide = page.evaluate("[...document.querySelectorAll('table')].map((t) => t.getBoundingClientRect().right)")
    assert max(wide) <= 1047  # the inner width of a landscape page of A4
    assert page.evaluate("document.documentElement.scrollWidth") <= 1047
