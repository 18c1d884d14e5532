"""axe-core finds nothing to complain of: on every kind of page, in both themes and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
PAGES = [
    "index.html",
    "choose.html",
    "compare.html#suite=digits&a=good&b=kd",
    "suite/digits/index.html",
    "pair/digits/resnet8/vit_w32.html",
    "method/good.html",
    "method/dkd.html",
    "methods.html",
    "survey/cifar10.html",
    "survey/cifar10-all.html",
    "cell.html",
    "state.html",
    "history.html",
    "data.html",
    "about.html",
    "submit.html",
]
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_no_violation(site: Path, screen: str, open_page: Any):
    page = open_page((site / "index.html").as_uri(), **SCREENS[screen], bypass_csp=True)
    found = []
    for path in [*PAGES, a_record(site, page)]:
        file, _, state = path.partition("#")
        page.goto("about:blank")
        page.goto((site / file).as_uri() + (f"#{state}" if state else ""))
        page.wait_for_timeout(300)
        for n in range(page.locator("[data-figure]").count()):
            page.locator("[data-figure]").nth(n).scroll_into_view_if_needed()
            page.wait_for_selector(f"[data-figure] >> nth={n} >> .main-svg >> nth=0", state="attached")
        page.evaluate(AXE)
        violations = page.evaluate("axe.run(document, { preload: false }).then((r) => r.violations)")
        found += [(path, v["id"], [node["html"][:150] for node in v["nodes"][:3]]) for v in violations]
    assert found == []


def a_record(site: Path, page: Any) -> str:
    """The address of a record."""
    page.goto((site / "pair/digits/resnet8/vit_w32.html").as_uri())
    return str(page.get_attribute("#pair tbody a[href*='cell.html']", "href")).removeprefix("../../../")
