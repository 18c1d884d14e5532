"""Three visitors, each with a question: who chooses, who wrote a method, who doubts. Counted in clicks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kdbench.records.reader import read_results


def test_who_chooses_has_an_answer_after_one_click_and_one_choice(accepted: Path, open_page: Any):
    page = open_page((accepted / "index.html").as_uri())
    page.click("nav >> text=Choose")
    page.wait_for_selector("#advice")
    assert page.input_value("[name=suite]") == "cifar100-quarter"
    dearest = best_of(page, None)
    assert dearest in page.inner_text("#advice")
    page.select_option("[name=cost]", "1.5")
    page.wait_for_selector("#advice:has-text('plain student')")
    costs = [float(text.removeprefix("× ")) for text in page.locator("#choices td:nth-child(5)").all_inner_texts()]
    assert costs
    assert max(costs) <= 1.5
    page.go_back()
    page.wait_for_selector(f"#advice:has-text('{dearest}')")
    assert page.locator(".picture .name").all_inner_texts()  # the front has names


def best_of(page: Any, most: float | None) -> str:
    """The method of the highest mean that is measurably better than KD."""
    return str(page.locator("#choices tbody tr:has(td:nth-child(3) .mark.better) th").first.inner_text())


def test_what_is_at_hand_limits_what_is_offered(accepted: Path, open_page: Any):
    page = open_page((accepted / "choose.html").as_uri() + "#suite=digits&hand=nodata")
    page.wait_for_selector("#choices")
    trained = any(Path("results/digits", name).is_dir() for name in ("dafl", "zskt", "deepinversion"))
    assert set(page.locator("#choices td:nth-child(6)").all_inner_texts()) == ({"no data"} if trained else set())
    page.select_option("[name=hand]", "alone")
    assert set(page.locator("#choices td:nth-child(6)").all_inner_texts()) == {"no teacher"}
    page.fill("[name=ratio]", "40")
    page.keyboard.press("Tab")
    page.wait_for_timeout(200)
    assert page.input_value("[name=pair]") != "all pairs"


@pytest.mark.parametrize("wanted", ["3", "10", "100"])
def test_an_answer_for_times_smaller_says_which_ratio_was_measured(accepted: Path, wanted: str, open_page: Any):
    page = open_page((accepted / "choose.html").as_uri() + f"#suite=cifar100-quarter&ratio={wanted}")
    page.wait_for_selector("#advice")
    label = page.locator("[name=pair] option:checked").inner_text()
    ratio = re.search(r"([\d.]+) times smaller", label)
    assert ratio
    assert page.inner_text("#advice").startswith(f"The nearest measured: {ratio[1]} times smaller. Take ")


@pytest.mark.parametrize("wanted", ["-3", "0", "0.5"])
def test_a_student_that_is_not_smaller_is_refused_in_words(accepted: Path, wanted: str, open_page: Any):
    page = open_page((accepted / "choose.html").as_uri() + f"#suite=cifar100-quarter&ratio={wanted}")
    page.wait_for_selector("#answer .note")
    assert page.inner_text("#answer") == f"Times smaller must be 1 or more, not {wanted}."


def test_where_only_published_numbers_exist_it_is_said(accepted: Path, open_page: Any):
    page = open_page((accepted / "choose.html").as_uri() + "#suite=published%3Aimagenet")
    page.wait_for_selector("#choices")
    assert "Only published numbers exist" in page.inner_text("#advice")
    gains = [float(t.replace("−", "-")) for t in page.locator("#choices td:nth-child(2)").all_inner_texts()]
    assert gains == sorted(gains, reverse=True)


def test_who_wrote_a_method_reads_first_where_it_stands(accepted: Path, open_page: Any):
    page = open_page((accepted / "index.html").as_uri())
    leader, second = (page.locator("section:visible tbody th a").nth(place).inner_text() for place in (0, 1))
    page.click(f"section:visible tbody th a:text-is('{second}')")
    first = page.locator("main section").first
    first.locator("td:has-text('×')").first.wait_for()
    text = first.inner_text()
    assert re.search(r"place \d+ of \d+", text)
    assert "plain student" in text
    assert "plain KD" in text
    assert re.search(r"× \d", text)  # what it costs
    assert f"from {leader}" in text  # what separates it from the leader
    box = first.bounding_box()
    assert box
    assert box["y"] < 300
    head = [h.inner_text() for h in page.locator("h2").all()]
    assert head.index("On each pair") < head.index("Training curves") < head.index("Published numbers")
    page.locator("[data-figure=curves]").scroll_into_view_if_needed()
    page.wait_for_selector("[data-figure=curves] .legendtext")
    names = " ".join(page.locator("[data-figure=curves] .legendtext").all_text_contents())
    assert "vanilla" in names
    assert "kd," in names
    assert re.search(r"[\w-]+/[\w-]+", page.inner_text("#parameters"))  # the repository that they are from


def test_who_doubts_compares_two_in_two_clicks_and_can_quote(accepted: Path, open_page: Any):
    page = open_page((accepted / "index.html").as_uri())
    page.click("section:visible tbody tr:has(th:has-text('reviewkd')) td a[href*='b=kd'] >> nth=0")
    page.select_option("[name=b]", "crd")
    page.wait_for_selector("#quote:has-text('crd')")
    quote = page.inner_text("#quote")
    top = {
        name: [e.record.main.metrics.top1 for e in read_results(Path("results/cifar100-quarter") / name)]
        for name in ("reviewkd", "crd")
    }
    mean = sum(top["reviewkd"]) / len(top["reviewkd"]) - sum(top["crd"]) / len(top["crd"])
    said = re.search(r"is (\S+) percentage points above crd", quote)
    assert said
    assert float(said[1]) == pytest.approx(mean, abs=0.006)
    assert "95 % interval" in quote
    seeds = len(top["reviewkd"]) + len(top["crd"])  # on both pairs; and their means over the pairs, half as many
    assert page.locator(".picture .dot").count() == seeds + seeds // 2
    page.click("#swap")
    page.wait_for_selector("#quote:has-text('below reviewkd')")
    page.go_back()
    page.wait_for_selector("#quote:has-text('above crd')")


def test_home_opens_on_the_suite_that_tells_most_and_digits_says_what_it_is_for(accepted: Path, open_page: Any):
    page = open_page((accepted / "index.html").as_uri())
    assert "CIFAR-100" in page.locator("section:visible h2").first.inner_text()
    answers = page.locator("section:visible .answers").inner_text()
    assert re.search(r"\d+ of \d+ methods are measurably better than the plain student", answers)
    assert "points from plain KD" in answers
    page.goto((accepted / "suite/digits/index.html").as_uri())
    assert "not for choosing a method" in page.inner_text("main")


def test_the_order_is_compared_with_published_tables(accepted: Path):
    page = (accepted / "suite/cifar100-quarter/index.html").read_text(encoding="utf-8")
    assert "Agreement with published orders" in page
    assert "repdistiller_readme" in page
    assert "mdistiller_readme" in page
