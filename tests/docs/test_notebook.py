"""The notebook in docs/ runs as it stands there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

DOCS = Path(__file__).parents[2] / "docs"
CELLS = json.loads((DOCS / "results.ipynb").read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_every_cell_of_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS)
    names: dict[str, Any] = {}
    for code in CODE:
        exec(compile(code, "results.ipynb", "exec"), names)
    assert isinstance(names["board"], pd.DataFrame)
    assert names["board"].top1["kd"] > names["board"].top1["vanilla"]
    assert {"kd", "crd"} < set(names["found"].differences.method)
    assert any("80 % power" in note for note in names["found"].notes)


def test_the_notebook_keeps_no_numbers_that_grow_old() -> None:
    assert not [cell for cell in CELLS if cell.get("outputs") or cell.get("execution_count")]
