"""What records say is text: no script, style, foreign link or path comes of it. In a real browser, on every page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic_records import make_entry, make_method, make_record, write_method
from kdbench.records.store import Entry, write_results
from kdbench.suite import Suite
from kdbench.suites import load_test_labels
from kdbench_leaderboard.build import build

PAYLOADS = [
    "<script>document.title='pwned'</script>",
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<svg onload=\"document.title='pwned'\"></svg>",
    "\" onmouseover=\"document.title='pwned'\" autofocus onfocus=\"document.title='pwned'",
    "' style='position:fixed;inset:0' x='",
    "<style>body{display:none}</style>",
    "</style></title></textarea></noscript><iframe src=\"javascript:document.title='pwned'\"></iframe>",
    "javascript:document.title='pwned'",
    "data:text/html,<script>document.title='pwned'</script>",
    "{{ 7 * 7 }}{% for x in y %}${7*7}",
    "<a href=\"javascript:document.title='pwned'\">Attention</a>",
    "\u2028\u2029\u202e\x1b[31m\x07",
    "../../../../outside",
    '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example">',
    '=HYPERLINK("https://evil.example")',
    "A" * 5000,
    "__proto__",
    "A }} }\n\n@misc{evil, title = {x} } \\} \\{",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    """A site of records that say these things wherever a record may say what it likes."""
    folder = tmp_path_factory.mktemp("hostile")
    results = folder / "results"
    labels = load_test_labels(suite)
    write_method(results, suite, make_method("vanilla"), 0.9)
    for n, text in enumerate(PAYLOADS):
        name = f"payload{n}"
        method = make_method(
            name,
            title=text,
            authors=text,
            arxiv=text,
            docstring=text,
            families=[text],
            deviations=[text],
            distribution=text,
            distribution_version=text,
            requires=["student.logits", "teacher.logits", text],
        )
        changes: dict[str, Any] = {
            "params": {text: text},
            "variant": {text: text},
            "environment": {text: text},
            "finished": text,
        }
        entries = [
            make_entry(suite, labels, method, (pair.teacher, pair.student), seed, 0.93, **changes)
            for pair in suite.pairs[:2]
            for seed in range(2)
        ]
        refused = make_record(
            suite, method, ("vit", "resnet8_w4"), 0, status="not_applicable", reason=text, cost=None, **changes
        )
        write_results(results / "digits" / name, [*entries, Entry(refused, None, folder)])
    strange = suite.model_copy(update={"name": "strange", "title": "x"})
    write_method(results, strange, make_method("kd"), 0.9, protocol={"data": {"source": f"x/{PAYLOADS[0]}"}})
    (results / "digits" / "broken").mkdir()
    (results / "digits" / "broken" / "records.jsonl").write_text("\n".join(PAYLOADS), encoding="utf-8")
    (results / "digits" / "<script>alert(1)<").mkdir()
    head = "| date | suite | row | version | protocol | status | reason |\n|---|---|---|---|---|---|---|\n"
    reason = PAYLOADS[0].replace("|", "")
    (results / "WITHDRAWN.md").write_text(
        head + f"| 2026-01-01 | digits | {reason} | 1 | {'0' * 12} | withdrawn | {reason} |\n", encoding="utf-8"
    )
    build(folder / "site", results, None)
    return folder / "site"


def test_no_file_lies_outside_of_the_site(hostile: Path):
    assert sorted(path.name for path in hostile.parent.iterdir()) == ["results", "site"]


@pytest.mark.slow
def test_every_row_is_there_and_nothing_of_it_is_more_than_text(hostile: Path, open_page: Any):
    page = open_page((hostile / "suite/digits/index.html").as_uri())
    assert page.locator("#board tbody tr").count() == len(PAYLOADS) + 1
    measured = {path.name for path in (hostile.parent / "results").glob("*/*")}
    for path in sorted(hostile.rglob("*.html")):
        if path.parent.name == "method" and path.stem not in measured:
            continue  # what others published, without a word of these records
        if "zh" in path.parts:  # the same records as in English
            continue
        page.goto(path.as_uri())
        for n in range(page.locator("[data-figure]").count()):
            page.locator("[data-figure]").nth(n).scroll_into_view_if_needed()
            page.wait_for_selector(f"[data-figure] >> nth={n} >> .main-svg >> nth=0", state="attached")
        page.evaluate(
            """() => { for (const e of document.querySelectorAll("main *")) {
                e.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
                e.dispatchEvent(new FocusEvent("focus")); e.dispatchEvent(new FocusEvent("focusin", { bubbles: true }));
            } }"""
        )
        assert "pwned" not in page.title()
        found = page.evaluate(
            """() => ({
                scripts: [...document.scripts].filter((s) => !s.src.startsWith("file:")).length,
                frames: document.querySelectorAll("iframe, object, embed, base, meta[http-equiv=refresh]").length,
                handlers: [...document.querySelectorAll("*")].filter((e) =>
                    [...e.attributes].some((a) => a.name.startsWith("on"))).length,
                links: [...document.querySelectorAll("a[href]")].map((a) => a.href)
                    .filter((h) => !/^(file:|https:..arxiv.org.|https:..github.com.)/.test(h)),
                images: [...document.images].length,
                visible: getComputedStyle(document.body).display,
                overlaid: [...document.querySelectorAll("main [style*=fixed]")].length,
            })"""
        )
        assert found == {
            "scripts": 0, "frames": 0, "handlers": 0, "links": [], "images": 0, "visible": "block", "overlaid": 0,
        }, path  # fmt: skip


def test_a_records_own_page_shows_it_as_text(hostile: Path, open_page: Any):
    page = open_page((hostile / "method/payload0.html").as_uri())
    assert PAYLOADS[0] in page.inner_text("#about")
    page.click("table tbody td a[href*=cell]")
    page.wait_for_selector("#record h2")
    assert PAYLOADS[0] in page.inner_text("#record")
    assert "pwned" not in page.title()


def test_what_cannot_be_read_is_listed(hostile: Path, open_page: Any):
    page = open_page((hostile / "state.html").as_uri())
    text = page.inner_text("main")
    assert "records.jsonl:1 is no valid record" in text
    assert "<script>alert(1)<" in text


def test_a_spreadsheet_is_given_no_formula(hostile: Path, open_page: Any):
    page = open_page((hostile / "methods.html").as_uri())
    page.click("details.menu:has([data-download]) summary")
    with page.expect_download() as waiting:
        page.click("[data-download=csv]")
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert "'=HYPERLINK" in text
    assert ",=HYPERLINK" not in text
    assert ',"=HYPERLINK' not in text


def test_a_title_adds_no_entry_to_bibtex(hostile: Path, open_page: Any):
    page = open_page((hostile / "suite/digits/index.html").as_uri())
    page.click("details.menu:has([data-download]) summary")
    with page.expect_download() as waiting:
        page.click("[data-download=bibtex]")
    depth, outside = 0, ""
    for character in Path(waiting.value.path()).read_text(encoding="utf-8"):  # as BibTeX counts: escaped or not
        depth += (character == "{") - (character == "}")
        assert depth >= 0
        outside += character if depth == 0 else ""
    assert depth == 0
    assert "evil" not in outside
