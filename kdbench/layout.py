"""Names of the folders that hold records, and of those in them that are of no method."""

from __future__ import annotations

from pathlib import Path

RUNS, RESULTS = Path("runs"), Path("results")  # yours, and the accepted ones
TEACHERS, COSTS, FAILURES = "teachers", "costs", "failures"  # in a suite's folder, beside its methods
RESERVED = frozenset({TEACHERS, COSTS, FAILURES})
BEGUN, DECIDED = ".submitting", ".submitted"  # a change of the accepted results on its way (`records.journal`)
