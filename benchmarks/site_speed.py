"""How soon a page can be used on a slow line and processor: PYTHONPATH=. python benchmarks/site_speed.py

Served compressed, at 1.6 Mbit/s, 150 ms latency and four times slower processing, in headless Chromium. "Usable" is
when the table has answered a click on a head; figures load later, when they come into view.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from kdbench_leaderboard.build import build
from kdbench_leaderboard.serve import make_server

LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
SLOWER = 4
SHIFT = """() => new Promise((done) => { let sum = 0;
    const add = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; };
    new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(sum), 300); })"""


def main() -> None:
    """Print a line a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--site", type=Path, help="a site that is built already")
    parser.add_argument("pages", nargs="*", default=["suite/digits/index.html", "index.html", "survey/cifar100.html"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = arguments.site or Path(folder) / "site"
        if arguments.site is None:
            build(site, arguments.results, None)
        server = make_server(site, 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        sys.stdout.write("page                              usable s  layout shift  KB over the line\n")
        for path in arguments.pages:
            seconds, shift, size = measure(browser, f"http://127.0.0.1:{server.server_port}/{path}")
            sys.stdout.write(f"{path:32}{seconds:10.1f}{shift:14.3f}{size / 1000:18.0f}\n")
            sys.stdout.flush()
        browser.close()
        server.shutdown()


def measure(browser: Any, address: str) -> tuple[float, float, float]:
    """Seconds until a table answers, the layout shift, and bytes that came over the line until then."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    session = context.new_cdp_session(page)
    received = [0.0]
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", LINE)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.click("[data-table]:visible th[data-key=method] button")
    page.wait_for_selector("[data-table]:visible th[data-key=method][aria-sort]")
    seconds = time.perf_counter() - began
    page.wait_for_timeout(1500)
    shift = float(page.evaluate(SHIFT))
    context.close()
    return seconds, shift, sum(received)


if __name__ == "__main__":
    main()
