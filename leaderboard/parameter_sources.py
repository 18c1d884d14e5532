"""Where methods' parameters come from: the rows of `data/parameters.csv`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from kdbench.suite import Suite
from kdbench_leaderboard.published import DATA


class Row(NamedTuple):
    """One parameter of a method: its default, or its value on some pairs of some suites.

    Attributes:
        suites, pairs: names, separated by spaces; none for the default, and for all pairs.
        value: as JSON.
        data: what the file gives the value for.
        note: where the value is from, if from no file; how kdbench differs from the file, and why.
    """

    method: str
    suites: str
    pairs: str
    parameter: str
    value: str
    repository: str
    file: str
    commit: str
    data: str
    note: str

    def settings(self, suites: dict[str, Suite]) -> Iterator[tuple[str, str, str, str, Any]]:
        """(suite, method, pair, parameter, value), one for every pair of the row that a suite of the row has."""
        for suite in self.suites.split():
            theirs = {str(pair) for pair in suites[suite].pairs} & set(self.pairs.split())
            for pair in sorted(theirs) if self.pairs else [""]:
                yield suite, self.method, pair, self.parameter, json.loads(self.value)

    @property
    def address(self) -> str | None:
        """The file at its commit."""
        return f"https://github.com/{self.repository}/blob/{self.commit}/{self.file}" if self.file else None

    @property
    def source(self) -> str:
        """The file in words; empty without one."""
        return f"{self.repository} {self.file}" if self.file else ""


def read_rows() -> list[Row]:
    with (DATA / "parameters.csv").open(encoding="utf-8", newline="") as file:
        return [Row(**row) for row in csv.DictReader(file)]
