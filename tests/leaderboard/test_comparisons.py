"""`compare.html` and `kdbench compare` say the same of two rows; on the accepted results, in a real browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
            return { difference: value(1), interval: [Number(cells[2].dataset.low), Number(cells[2].dataset.high)],
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
    assert found["interval"] == pytest.approx(expected["interval"], abs=1e-5)
    assert found["p"] == pytest.approx(expected["p_value"], rel=1e-4)
    assert found["detectable"] == pytest.approx(expected["detectable"], rel=1e-5)
    words = {"better": "better", "worse": "worse", "not separable": "not told apart", "undecided": "undecided"}
    assert words[expected["verdict"]] in found["verdict"]
    assert found["corrected"] >= found["p"] - 1e-6
