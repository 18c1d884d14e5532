"""Write docs/leaderboard.png, the first page of the site of results/: python docs/make_picture.py (needs Chromium)"""

from __future__ import annotations

import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from kdbench_leaderboard.build import build

PICTURE = Path(__file__).parent / "leaderboard.png"
SIZE = {"width": 1440, "height": 1000}
COLORS = 256  # enough for a page without photographs


def main() -> None:
    """Build the site, look at it, keep what is seen."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = Path(folder) / "site"
        build(site, PICTURE.parents[1] / "results", None)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto((site / "index.html").as_uri())
        page.wait_for_selector("[data-count]:has-text('rows')")
        picture = Image.open(BytesIO(page.screenshot()))
        browser.close()
    picture.convert("RGB").quantize(COLORS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
