"""A search on the small suite over one epoch."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdbench.commands.request import Request
from kdbench.commands.search import parse_search
from kdbench.commands.tune import tune
from kdbench.running.plan import Cell
from tests.kdbench.commands.tuning.searches import SPACE, Tune


@pytest.fixture
def quick_suite(small_suite: Path) -> Path:
    """The small suite over one epoch."""
    small_suite.write_text(
        small_suite.read_text().replace("epochs = 4", "epochs = 1").replace("epochs = 2", "epochs = 1")
    )
    return small_suite


@pytest.fixture
def run(quick_suite: Path, cells_here: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tune:
    """Tunes; returns the exit code, the JSON and what people read."""

    def run(
        *methods: str,
        space: Sequence[str] = (SPACE,),
        trials: int = 2,
        sampler: str = "random",
        seeds: str = "1",
        suite: Path = quick_suite,
        out: Path | None = None,
        runs: str = "runs",
        budget: str | None = None,
    ) -> tuple[int, Any, str]:
        request = Request(
            str(suite), methods, seeds=seeds, validate=True, device="cpu", workers="1", out=tmp_path / runs,
            mlflow=False, as_json=True,
        )  # fmt: skip
        said = io.StringIO()
        search = parse_search(request, space, None if budget else trials, sampler, out, budget)
        code = tune(search, Console(file=said, width=200))
        printed = capsys.readouterr().out
        return code, json.loads(printed) if printed else None, said.getvalue()

    return run
