"""`kdbench collect`: the records of several machines in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kdbench.console import line_printer, write_json
from kdbench.records.merging import check_source, merge


def collect(sources: Sequence[Path], out: Path, console: Console, as_json: bool) -> int:
    """Merge folders of records into one; returns the exit code, 1 if something is left that differs.

    Raises:
        KdbenchError: a folder that is none, or the one to write cannot be written.
    """
    notice = line_printer(console)
    for source in sources:  # nothing is copied before all are known
        check_source(source, out)
    done = {str(source): merge(source, out) for source in sources}
    for name, merged in done.items():
        for problem in merged.problems:
            notice(problem)
        unfinished = f", {merged.unfinished} cells in training left" if merged.unfinished else ""
        problems = f", {len(merged.problems)} left as said above" if merged.problems else ""
        notice(f"{name}: {merged.taken} records taken, {merged.equal} there already{unfinished}{problems}")
    notice(f"Records: {out}")
    if as_json:
        write_json({"out": str(out), "folders": {name: vars(merged) for name, merged in done.items()}})
    return 1 if any(merged.problems for merged in done.values()) else 0
