"""kdbench from Python: results as tables, comparisons, runs.

    import kdbench
    results = kdbench.load_results(suite="cifar100-quarter")
    results.groupby("method")["top1"].mean().sort_values()

Tables are pandas'. Errors that a user can mend are `kdbench.KdbenchError`, one line each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.commands.compare import notes, to_json
from kdbench.commands.comparison import comparison, part_of
from kdbench.console import Clean, Notice, line_printer
from kdbench.errors import KdbenchError
from kdbench.layout import RUNS, TEACHERS
from kdbench.records.dataframe import class_frame, results_frame
from kdbench.records.evidence import Evidence
from kdbench.records.reader import read_results
from kdbench.records.rows import Row, group, methods_in, read_rows, with_recorded_content
from kdbench.records.store import Entry, find_results, find_runs
from kdbench.suite import Suite

if TYPE_CHECKING:
    from kdbench.running.fleet import Outcome

Folder = Path | str | None


@dataclass(frozen=True)
class Compared:
    """What `compare` found.

    Attributes:
        standing: a row a method, the best first: place, ranks that are open, every metric's mean.
        differences: a row two methods: difference, 95 % interval, corrected p-value, verdict.
        notes: what one must know to read them.
        incomplete: what keeps a method from being compared, by its name.
    """

    standing: pd.DataFrame
    differences: pd.DataFrame
    notes: list[str]
    incomplete: dict[str, list[str]]


def load_results(
    path: Folder = None, suite: str = "digits", *, runs: Folder = None, methods: Sequence[str] | None = None
) -> pd.DataFrame:
    """Every result that counts on a suite's board, accepted ones and yours, a row a method, pair and seed.

    A method without a teacher stands under every pair of its student, so that the mean over a method's rows of a
    complete method is the board's.

    Args:
        path: of the accepted results; as `--results` of the command line.
        suite: a built-in suite's name, or the path of a suite file.
        runs: where your own records are; ./runs if left out.
        methods: those wanted, without variants' brackets; all if left out.

    Returns:
        a table with suite, method, origin (accepted, yours), version, teacher, student, seed, status, reason, the
        metrics in percent or nats (`balanced`: mean accuracy over classes; `agreement`: test images on which student
        and teacher say the same; with tasks `average` and `forgetting`), parameters, macs, train_seconds, train_flops,
        scheme, knowledge, params_source, trials and key.

    Raises:
        KdbenchError: unknown suite, or a folder that is none.
    """
    found, rows, accepted = rows_of(path, suite, runs, methods)
    return results_frame(rows, found, range(found.seeds), teachers_of(found, accepted))


def load_class_results(
    path: Folder = None, suite: str = "digits", *, runs: Folder = None, methods: Sequence[str] | None = None
) -> pd.DataFrame:
    """Top-1 accuracy in percent of each class: a row a method, pair, seed and class. Arguments as `load_results`.

    Raises:
        KdbenchError: as `load_results`, or kdbench has no test labels for the suite.
    """
    found, rows, _ = rows_of(path, suite, runs, methods)
    return class_frame(rows, found, range(found.seeds))


def compare(
    methods: Sequence[str],
    suite: str = "digits",
    *,
    pairs: Sequence[str] = (),
    seeds: int | None = None,
    validate: bool = False,
    metric: str | None = None,
    runs: Folder = None,
    results: Folder = None,
) -> Compared:
    """What `kdbench compare` says, as tables.

    Args:
        metric: by which methods are compared: top1, or with tasks average, unless it is named.

    Raises:
        KdbenchError: fewer than two methods with a record of every pair and seed, an unknown suite, pair or metric.
    """
    said: list[str] = []
    part = part_of(suite, pairs, seeds, validate)
    it = comparison(methods, part, as_path(runs), as_path(results), metric, said.append)
    table = to_json(it.suite, it.metric, it.contrasts, it.standing, it.incomplete)
    standing = [
        {**row, **{name: value["mean"] for name, value in row.pop("metrics").items()}} for row in table["methods"]
    ]
    return Compared(pd.DataFrame(standing), pd.DataFrame(table["contrasts"]), [*said, *notes(it)], it.incomplete)


def run(
    methods: Sequence[str],
    suite: str = "digits",
    *,
    pairs: Sequence[str] = (),
    seeds: int | str | None = None,
    epochs: int | None = None,
    validate: bool = False,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | str = "auto",
    out: Folder = RUNS,
    results: Folder = None,
    mlflow: bool = False,
    quiet: bool = False,
) -> pd.DataFrame:
    """Train methods and the plain student as `kdbench run` does; cells with a record are not trained again.

    Worker processes import your script: call this below `if __name__ == "__main__":`.

    Args:
        settings: parameters of the methods, as `--set`.
        quiet: without progress and tables.

    Returns:
        as `load_results`, of the cells of this request.

    Raises:
        KdbenchError: a mistake in the request, or cells that failed.
    """
    from kdbench.commands.request import Request, check_request
    from kdbench.commands.run import answer
    from kdbench.running.fleet import Outcome

    request = Request(
        suite=suite,
        methods=tuple(methods),
        pairs=tuple(pairs),
        seeds=None if seeds is None else str(seeds),
        epochs=epochs,
        validate=validate,
        settings=tuple(f"{name}={value}" for name, value in (settings or {}).items()),
        device=device,
        workers=str(workers),
        out=as_path(out) or RUNS,
        results=as_path(results),
        mlflow=mlflow,
    )
    check_request(request)
    outcome = Outcome()
    answer(request, Clean(quiet=quiet), outcome)
    if outcome.failures:
        first = outcome.failures[0]
        raise KdbenchError(f"{len(outcome.failures)} cells failed, the first being {first.cell}: {first.message}")
    return frame_of(outcome, part_of(suite, pairs, validate=validate), as_path(results))


def frame_of(outcome: Outcome, suite: Suite, results: Path | None) -> pd.DataFrame:
    """What a run has recorded, whatever its protocol."""
    rows = group(outcome.entries.values(), "yours")
    seeds = sorted({entry.record.seed for entry in outcome.entries.values()})
    recorded = suite.model_copy(update={"most_seeds": None})
    return results_frame(rows, recorded, seeds, teachers_of(suite, find_results(results)))


def rows_of(
    path: Folder, suite_name: str, runs: Folder, methods: Sequence[str] | None
) -> tuple[Suite, list[Row[Entry]], Path | None]:
    """A suite bound to its data, its rows, and where the accepted ones lie."""
    accepted, mine = find_results(as_path(path)), find_runs(as_path(runs))
    suite = part_of(suite_name)
    names = sorted(methods_in(suite, mine, accepted)) if methods is None else list(methods)
    suite = with_recorded_content(suite, names, mine, accepted)
    notice = warn()
    return suite, [row for name in names for row in read_rows(suite, name, mine, accepted, notice)], accepted


def teachers_of(suite: Suite, results: Path | None) -> dict[str, Evidence]:
    """Evidence of the accepted teachers, by the hash of their weights."""
    entries = read_results(results / suite.name / TEACHERS) if results else []
    return {str(e.record.main.sha256): e.evidence for e in entries if e.evidence is not None}


def warn() -> Notice:
    """What is left out is said on standard error."""
    return line_printer(Clean(stderr=True))


def as_path(folder: Folder) -> Path | None:
    return None if folder is None else Path(folder)
