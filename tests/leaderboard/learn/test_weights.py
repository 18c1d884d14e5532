"""The grid of loss weights: shown from records where there are any, and said to be missing where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.loss_weights import SEEDS, TEMPERATURES, WEIGHTS
from benchmarks.synthetic_records import make_entry, make_method
from kdbench.hashing import digest
from kdbench.records.stats import mean_interval
from kdbench.records.store import write_results
from kdbench.suite import Suite
from kdbench_leaderboard.learn import weights
from kdbench_leaderboard.learn.pages import learning_page
from kdbench_leaderboard.page import make_site
from kdbench_leaderboard.read import Store


def test_the_grid_has_at_most_forty_cells():
    assert len(WEIGHTS) * len(TEMPERATURES) * SEEDS <= 40


def test_a_grid_is_the_means_of_its_records(
    suite: Suite, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pair = (suite.pairs[0].teacher, suite.pairs[0].student)
    entries = [
        make_entry(suite, labels, make_method("kd"), pair, seed, 0.5 + 0.1 * kd,
                   params={"ce_weight": 1 - kd, "kd_weight": kd, "temperature": t}, key=digest([kd, t, seed]))
        for kd in (0.5, 1.0) for t in (1.0, 4.0) for seed in (0, 1) if (kd, t) != (1.0, 4.0)
    ]  # fmt: skip
    write_results(tmp_path / "grid", entries)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "grid")
    grid = weights.read_grid()
    assert grid is not None
    assert grid.temperatures == [1.0, 4.0]
    assert [w for w, _ in grid.rows] == [(0.5, 0.5), (0.0, 1.0)]
    mine = [e.record.main.metrics.top1 for e in entries if e.record.params["kd_weight"] == 1.0]
    assert grid.rows[1][1] == [mean_interval(np.array(mine)), None]
    _, text = learning_page(make_site(Store()), "logits", "en")
    assert f"{np.mean(mine):.2f} ± " in str(text)
    assert 'id="no-grid"' not in str(text)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_without_records_the_page_says_how_to_make_them(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "none")
    _, text = learning_page(make_site(Store()), "logits", language)
    assert "benchmarks/loss_weights.py" in str(text)
