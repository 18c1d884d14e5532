"""The file with all cells holds what the records hold, and its page explains every column."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kdbench.errors import KdbenchError
from kdbench.records.reader import read_results
from kdbench_leaderboard.dataset import FIELDS
from kdbench_leaderboard.origin import make_origin


def test_every_cell_is_in_the_file(site: Path, results: Path):
    table = pd.read_parquet(site / "data" / "board.parquet")
    entries = {e.record.key: e.record for folder in (results / "digits").iterdir() for e in read_results(folder)}
    assert len(table) == len(entries)
    assert list(table.columns) == [field.name for field in FIELDS]
    for row in table.itertuples():
        record = entries[row.key]
        assert (row.method, row.student, row.seed) == (record.method.name, record.student, record.seed)
        assert row.top1 == pytest.approx(record.main.metrics.top1)
        assert row.train_seconds == record.cost.train_seconds


def test_its_page_names_every_column(site: Path):
    page = (site / "data.html").read_text(encoding="utf-8")
    assert all(f"<code>{field.name}</code>" in page for field in FIELDS)


def test_addresses_are_checked_and_end_alike():
    assert make_origin("https://a.example/x", "").address == "https://a.example/x/"
    for wrong in ("javascript:alert(1)", "//a.example", 'https://a.example/"x', "a.example"):
        with pytest.raises(KdbenchError, match="no web address"):
            make_origin(wrong, "")
