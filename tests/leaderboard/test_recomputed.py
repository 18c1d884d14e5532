"""Numbers of the site equal those that a calculation without any of kdbench's code makes of the records."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.recomputed_numbers import check


@pytest.mark.parametrize("suite", ["digits", "cifar100-quarter"])
def test_fifty_numbers_are_those_of_the_records(suite: str, accepted: Path) -> None:
    count, wrong = check(accepted, Path("results"), suite, 50, seed=0)
    assert wrong == []
    assert count == 50


def test_another_number_is_found(accepted: Path, tmp_path: Path) -> None:
    shutil.copytree(accepted / "pair", tmp_path / "pair")
    shutil.copytree(accepted / "suite", tmp_path / "suite")
    page = tmp_path / "suite" / "cifar100-quarter" / "index.html"
    text = page.read_text()
    at = text.index('data-value="', text.index("method/", text.index("<tbody")))  # the first row's accuracy
    page.write_text(text[:at] + 'data-value="9' + text[at + len('data-value="') :])
    assert len(check(tmp_path, Path("results"), "cifar100-quarter", 10_000, seed=0)[1]) == 1
