"""The pages to learn as a person meets them: the slider, keys, a phone, no script, no network, axe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kdbench.records.softening import soften
from kdbench_leaderboard.learn.taught import FILE
from kdbench_leaderboard.learn.topics import LANGUAGES, PAGES, path
from tests.leaderboard.test_accessible import AXE, SCREENS

TOUCH = path("soft-targets", "en")
EVERY = [path(page, language) for language in LANGUAGES for page in PAGES]


def shown(page: Any) -> list[float]:
    return [float(text) for text in page.locator("#targets td.number").all_inner_texts()]


def test_the_slider_moves_the_soft_targets(site: Path, open_page: Any):
    page = open_page((site / TOUCH).as_uri())
    page.wait_for_function("document.getElementById('touched').textContent.includes('T = 4')")
    stored = load_file(FILE)
    teacher = page.input_value("[name=teacher]")
    page.fill("[name=image]", "7")
    for button, t in (("20", 20.0), ("0.1", 0.1), ("100", 100.0)):
        page.click(f"[data-t='{button}']")
        expected = soften(stored[f"teacher.{teacher}"][7], t)
        assert shown(page) == pytest.approx(expected, abs=2e-3)
        widths = page.evaluate("[...document.querySelectorAll('#targets .bar span')].map((s) => s.style.width)")
        assert [float(w.rstrip("%")) for w in widths] == pytest.approx(100 * expected, abs=0.2)
        assert f"T = {button} " in page.inner_text("#touched")
    hard = page.locator("#targets td.hard").all_inner_texts()
    assert hard.index("1") == stored["labels"][7]
    page.focus("#slider")
    page.keyboard.press("Home")
    assert page.inner_text("#shown-t") == "0.1"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#slider", "aria-valuetext") == f"T = {page.inner_text('#shown-t')}"
    assert float(page.inner_text("#shown-t")) > 0.1


def test_a_digit_is_chosen_with_keys_and_stands_in_the_address(site: Path, open_page: Any):
    page = open_page((site / TOUCH).as_uri())
    page.wait_for_function("document.getElementById('touched').textContent.trim().length")
    chosen = page.locator("[data-image]").nth(4)
    chosen.focus()
    page.keyboard.press("Enter")
    number = chosen.get_attribute("data-image")
    assert page.input_value("[name=image]") == number
    assert chosen.get_attribute("aria-pressed") == "true"
    page.select_option("[name=teacher]", index=1)
    before = shown(page)
    assert f"image={number}" in page.url
    page.reload()
    page.wait_for_function("document.getElementById('touched').textContent.trim().length")
    assert shown(page) == before
    assert page.get_attribute("#digit", "aria-label").startswith(f"Test image {number}, a ")


@pytest.mark.parametrize("state", ["image=99999&t=9&teacher=none", "image=-3&t=x", "image=abc"])
def test_a_crafted_address_stays_within_the_data(site: Path, state: str, open_page: Any):
    page = open_page((site / TOUCH).as_uri() + "#" + state)
    page.wait_for_function("document.getElementById('touched').textContent.trim().length")
    assert sum(shown(page)) == pytest.approx(1, abs=0.01)


def test_without_scripts_the_tables_stand_there(site: Path, open_page: Any):
    page = open_page((site / TOUCH).as_uri(), java_script_enabled=False)
    assert not page.locator("#touch").is_visible()
    assert page.locator(".three table.targets:visible").count() == 3
    assert page.locator("noscript .note").count() == 1


def test_nothing_comes_from_a_network_and_nothing_overflows_a_phone(site: Path, open_page: Any):
    page = open_page("about:blank", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    wide = []
    for where in EVERY:
        page.goto((site / where).as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(where)
    assert wide == []
    assert [url for url in asked if not url.startswith("file:")] == []


@pytest.mark.parametrize("where", [TOUCH, path("map", "zh-CN"), path("logits", "en")])
def test_nothing_shifts(site: Path, where: str, open_page: Any):
    page = open_page((site / where).as_uri())
    page.wait_for_timeout(400)
    shift = page.evaluate(
        """() => new Promise((done) => { let sum = 0;
            const add = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; };
            new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
            setTimeout(() => done(sum), 200); })"""
    )
    assert shift < 0.02


@pytest.mark.parametrize(("screen", "language"), [("light", "zh-CN"), ("dark", "en"), ("phone", "en")])
def test_axe_finds_no_violation(site: Path, screen: str, language: str, open_page: Any):
    page = open_page("about:blank", **SCREENS[screen], bypass_csp=True)
    found = []
    for where in [*(path(name, language) for name in PAGES), "method/kd.html"]:
        page.goto((site / where).as_uri())
        page.evaluate(AXE)
        violations = page.evaluate(  # rows of the long table are like its first
            "axe.run({ exclude: ['tbody tr:nth-child(n+12)'] }, { preload: false }).then((r) => r.violations)"
        )
        found += [(where, v["id"], [node["html"][:150] for node in v["nodes"][:3]]) for v in violations]
    assert found == []


def test_the_script_holds_every_image_of_the_test_set(site: Path):
    text = (site / "data/learn/digits.js").read_text(encoding="utf-8")
    data = json.loads(re.fullmatch(r'kdbench\.receive\("learn",(.*)\);\n', text, re.DOTALL)[1])  # type: ignore[index]
    stored = load_file(FILE)
    grey = np.array([[ord(c) - 97 for c in image] for image in data["images"]]) / data["levels"] * 255
    assert np.abs(grey.reshape(stored["images"].shape) - stored["images"]).max() <= 0.5
    assert [int(c) for c in data["labels"]] == stored["labels"].tolist()
    assert len(text) < 400_000
