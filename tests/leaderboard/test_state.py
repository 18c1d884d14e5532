"""Nothing disappears: what is in no ranking is on the page 'state', with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.records.store import finish_cell
from kdbench.suite import Suite
from kdbench_leaderboard.page import make_site
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.state import sections


def test_your_records_of_seeds_that_the_suite_does_not_have_are_named(
    results: Path, tmp_path: Path, suite: Suite, labels: np.ndarray
):
    for seed in (5, 7):
        entry = make_entry(suite, labels, make_method("kd"), ("resnet8", "vit_w32"), seed, 0.9, key=f"{seed}" * 64)
        finish_cell(tmp_path / "runs" / "digits" / "kd" / entry.record.key[:16], entry.record, entry.evidence)
    said = dict(sections(make_site(read_store(results, tmp_path / "runs"))))["Records of other seeds"]
    assert said == [("digits / kd (yours)", "seeds 5, 7: none of the 5 that the board compares")]
