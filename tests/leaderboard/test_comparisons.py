"""`compare.html` and `kdbench compare` say the same of two rows; on the accepted results, in a real browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from kdbench.cli.app import main; main()"
)


def said(page: Any, site: Path, suite: str, one: str, other: str) -> dict[str, Any]:
    """What the page says of two rows over all pairs."""
    page.goto("about:blank")
    page.goto((site / "compare.html").as_uri() + f"#suite={suite}&a={one}&b={other}")
    page.wait_for_selector("#differences")
    return page.evaluate(
        """() => { const cells = [...document.querySelector("[data-place=all]").cells];
            const value = (i) => Number(cells[i].dataset.value);
            return { difference: value(1), text: cells[1].innerText,
                interval: [Number(cells[2].dataset.low), Number(cells[2].dataset.high)],
                p: value(4), corrected: value(5), detectable: value(6), verdict: cells[3].innerText }; }"""
    )


@pytest.mark.parametrize(
    ("suite", "one", "other"),
    [
        ("cifar100-quarter", "reviewkd", "crd"),  # a suite that states no variances
        ("cifar100-quarter", "kd", "vanilla"),  # of 20 seeds
        ("cifar100-quarter", "kd_ls", "fitnets"),
        ("digits", "reviewkd", "crd"),
        ("digits", "kd", "srrl"),
    ],
)
def test_the_page_says_what_the_command_says(accepted: Path, suite: str, one: str, other: str, open_page: Any):
    arguments = ["compare", one, other, "--suite", suite, "--json", "--results", "results"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True, check=True)
    [expected] = json.loads(done.stdout)["contrasts"]
    page = open_page((accepted / "about.html").as_uri())
    found = said(page, accepted, suite, one, other)
    assert found["difference"] == pytest.approx(expected["difference"], abs=1e-6)
    assert found["text"].replace("−", "-") == f"{expected['difference']:+.2f}"
    assert found["interval"] == pytest.approx(expected["interval"], abs=1e-5)
    assert found["p"] == pytest.approx(expected["p_value"], rel=1e-4)
    assert found["detectable"] == pytest.approx(expected["detectable"], rel=1e-5)
    words = {"better": "better", "worse": "worse", "not separable": "not told apart", "undecided": "undecided"}
    assert words[expected["verdict"]] in found["verdict"]
    assert found["corrected"] >= found["p"] - 1e-6


def test_the_browser_rounds_as_python_does(site: Path, open_page: Any):
    numbers = [
        4.285,
        -4.285,
        0.125,
        0.375,
        -0.625,
        2.5,
        37.875,
        100.0,
        1e-9,
        *np.random.default_rng(0).normal(0, 30, 500),
    ]
    page = open_page((site / "about.html").as_uri())
    for digits in (1, 2, 4):
        found = page.evaluate("([all, digits]) => all.map((one) => kdbench.fixed(one, digits))", [numbers, digits])
        assert found == [f"{number:.{digits}f}" for number in numbers]


@pytest.mark.parametrize("suite", ["cifar100-quarter", "digits"])
def test_every_page_says_the_same_digits(accepted: Path, suite: str, open_page: Any):
    page = open_page((accepted / "index.html").as_uri())
    shown = numbers(page, f"#ranking-{suite}", ["method", "accuracy", "kd", "gain"])
    page.goto((accepted / "choose.html").as_uri() + f"#suite={suite}&pair=all pairs")
    page.wait_for_selector("#choices")
    chosen = numbers(page, "#choices", ["Method", "Top-1, %", "Against KD", "Over the plain student"])
    ranked = [name for name in chosen if shown[name][2] != "not"]
    assert len(ranked) > 30
    assert {name: chosen[name] for name in ranked} == {name: shown[name] for name in ranked}
    for name in ranked[:20]:
        if name != "vanilla":
            gain = said(page, accepted, suite, name, "vanilla")["text"]
            assert gain.replace("−", "-") == shown[name][2]


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("suite=digits&a=crdd&b=kd", "No row 'crdd' on digits."),
        ("suite=digits&a=<b>x&b=%22y", "No row '<b>x' or '\"y' on digits."),
        ("suite=nowhere&a=good&b=kd", "No suite 'nowhere' here."),
        ("a=crdd&b=kd", "No row 'crdd' on digits."),
    ],
)
def test_rows_and_suites_that_are_not_there_are_named_and_nothing_is_compared(
    site: Path, state: str, answer: str, open_page: Any
):
    page = open_page((site / "compare.html").as_uri() + "#" + state)
    page.wait_for_selector("#answer .note")
    assert page.inner_text("#answer") == answer
    assert page.locator("#answer > *").count() == 1


def numbers(page: Any, table: str, columns: list[str]) -> dict[str, list[str]]:
    """By row of a table, the first word of its columns, which are given by key or by title."""
    rows = page.evaluate(
        """([table, columns]) => {
            const cells = [...document.querySelector(table + " thead tr").cells];
            const heads = cells.map((cell) => cell.dataset.key || cell.innerText);
            const text = (cell) => (cell.querySelector("a") || cell).innerText;
            return [...document.querySelectorAll(table + " tbody tr:not(.section)")].map(
                (row) => columns.map((key) => text(row.cells[heads.indexOf(key)]))); }""",
        [table, columns],
    )
    words = [[text.replace("−", "-").split()[0] for text in row] for row in rows]
    return {name: found for name, *found in words}
