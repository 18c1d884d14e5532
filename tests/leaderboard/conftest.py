"""Fixtures of the leaderboard's tests: made-up records, built sites, a browser."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.records.parts import Cost
from kdbench.records.reader import read_results
from kdbench.records.store import write_results
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels
from kdbench_leaderboard.build import build
from kdbench_leaderboard.serve import make_server

FLOPS = 10**9  # of a plain training
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def suite() -> Suite:
    return load_suite("digits")


@pytest.fixture(scope="session")
def labels(suite: Suite) -> np.ndarray:
    return load_test_labels(suite)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    """The plain student, KD, a control, a good, a bad, an online and a self method, a variant, an incomplete one."""
    folder = tmp_path_factory.mktemp("accepted") / "results"
    plain = {"train_seconds": 5.0, "steps": 100, "method_parameters": 0, "flops": FLOPS}
    write_method(folder, suite, make_method("vanilla"), 0.90, cost=plain)
    write_method(folder, suite, make_method("kd"), 0.93)
    write_method(folder, suite, make_method("good", year=2021, knowledge=["feature"]), 0.97)
    write_method(folder, suite, make_method("bad", knowledge=["relation"]), 0.80)
    write_method(folder, suite, make_method("peers", scheme="online", deviations=["two networks are trained"]), 0.93)
    add_peers(folder / "digits" / "peers")
    write_method(folder, suite, make_method("itself", scheme="self", requires=["student.logits"]), 0.92)
    write_method(folder, suite, make_method("smoothing", scheme="baseline", requires=["student.logits"]), 0.905)
    write_method(folder, suite, make_method("half"), 0.95)
    entries = read_results(folder / "digits" / "half")
    write_results(folder / "digits" / "half", [e for e in entries if e.record.student != "vit_w32"])
    return folder


def add_peers(folder: Path) -> None:
    """A second network and twice the plain student's compute on every record."""
    entries = []
    for entry in read_results(folder):
        assert entry.evidence is not None
        assert entry.record.cost is not None
        student = entry.record.main
        peer = student.model_copy(update={"role": "peer 1", "evidence_sha256": entry.evidence.sha256()})
        passes = {name: {"forward": 6000, "backward": 6000} for name in ("student", "peer")}
        cost = Cost.model_validate({**entry.record.cost.model_dump(), "flops": 2 * FLOPS, "passes": passes})
        record = entry.record.model_copy(update={"networks": [student, peer], "cost": cost}).sealed()
        entries.append(replace(entry, record=record, others={"peer 1": entry.evidence}))
    write_results(folder, entries)


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of `results`."""
    out = tmp_path_factory.mktemp("built") / "site"
    build(out, results, None)
    return out


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the accepted results."""
    out = tmp_path_factory.mktemp("accepted-site") / "site"
    build(out, Path("results"), None)
    return out


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The site on loopback."""
    server = make_server(site, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium. Skipped where there is none, except in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs a browser: apt-get install chromium")
        pytest.skip("no chromium on PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens an address in a context of its own; whatever the console or the page complains of fails the test."""
    contexts, complaints = [], []

    def open_(url: str, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("requestfailed", lambda r: complaints.append(r.url) if r.failure != "net::ERR_ABORTED" else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"
