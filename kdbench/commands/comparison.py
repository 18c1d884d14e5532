"""Several rows of a suite against each other, from their records: for the terminal and for Python. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from kdbench.commands.request import parse_pairs
from kdbench.console import Notice
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.plugins import list_plugins
from kdbench.records.contrast import Contrasts, Sample, contrast_samples, sample
from kdbench.records.metrics import Metric
from kdbench.records.moderation import estimate_prior, stated_prior
from kdbench.records.row_names import as_options, distinct_rows
from kdbench.records.rows import (
    PLAIN,
    Row,
    find_row,
    gaps,
    methods_in,
    pairs_of,
    read_rows,
    seeds_of,
    set_apart,
    silent,
    with_recorded_content,
)
from kdbench.records.standings import Contrast, Standing, all_contrasts, scores_of, set_places, tracks
from kdbench.records.stats import mean_interval
from kdbench.records.store import Entry, evidence_of, find_results, find_runs
from kdbench.records.tasks import RANKED, TaskMetric, measures_of, ranked_by
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Statistics

Measured = Metric | TaskMetric


@dataclass(frozen=True, kw_only=True)
class Named(Contrast):
    """One method against another, over all pairs."""

    one: str
    other: str

    @property
    def said(self) -> str:
        """Its verdict; one that lacks power says so."""
        return "undecided" if self.undecided else self.verdict


@dataclass(frozen=True)
class Comparison:
    """Rows against each other.

    Attributes:
        standing: the rows, the best mean first; tuned ones after the others, with places of their own.
        incomplete: what keeps a method from being compared, by its name.
    """

    suite: Suite
    metric: Measured
    found: Contrasts
    contrasts: list[Named]
    standing: list[Standing[Row[Entry]]]
    incomplete: dict[str, list[str]]


def comparison(
    methods: Sequence[str],
    suite: Suite,
    runs: Path | None,
    results: Path | None,
    metric_name: str | None,
    notice: Notice,
) -> Comparison:
    """Compare the rows that have every pair and seed of the suite; `notice` is told of those that have not.

    Args:
        metric_name: None for the one by which the suite's rows are ranked.

    Raises:
        KdbenchError: fewer than two complete rows, or a metric that cannot be compared.
    """
    metric = find_metric(metric_name or ranked_by(bool(suite.tasks)), suite)
    accepted, runs = None if suite.off_protocol else find_results(results), find_runs(runs)
    suite = with_recorded_content(suite, [name.partition("[")[0] for name in methods], runs, accepted)
    rows, incomplete = [], {}
    methods = distinct_rows(methods)
    if len(methods) < 2:
        raise KdbenchError("Name two methods or more, such as: kdbench compare crd kd")
    for name in methods:
        check_method(name.partition("[")[0], suite, runs, accepted)
        row = find_row(suite, name, runs, accepted, notice)
        if missing := gaps(row, suite):
            incomplete[name] = missing
            notice(f"{row.title} is incomplete and not compared: {few(missing)}.")
        else:
            rows.append(row)
    for row in rows:
        if apart := set_apart(row, next((plain for plain in rows if plain.name == PLAIN), None)):
            notice(f"{row.title} deploys another network than the suite's student: {apart}.")
    if len(rows) < 2:
        raise KdbenchError(
            f"Only {len(rows)} of the methods has a record of every pair and seed of '{suite.name}', and two are "
            f"needed. {what_helps(suite, incomplete)}"
        )
    check_teachers(suite, rows)
    stated = metric.name == ranked_by(bool(suite.tasks)) and stated_prior(suite) is not None
    found = measured(rows, suite, metric, () if stated else complete_rows(suite, runs, accepted))
    contrasts, standing = contrasts_of(rows, found, metric), standing_of(rows, found, suite, metric)
    return Comparison(suite, metric, found, contrasts, standing, incomplete)


def check_method(name: str, suite: Suite, runs: Path, results: Path | None) -> None:
    """A method has records on a suite.

    Raises:
        KdbenchError: it has none.
    """
    known, installed = methods_in(suite, runs, results), list_plugins()
    if name in known:
        return
    said = f"No records of method '{name}' on suite '{suite.name}'"
    if name in installed:
        raise KdbenchError(f"{said}. Run: kdbench run --method {name} --suite {suite.name}")
    meant = did_you_mean(name, known | installed.keys()) or " 'kdbench list methods' shows what is installed."
    raise KdbenchError(f"{said}, and it is not installed.{meant}")


def what_helps(suite: Suite, incomplete: dict[str, list[str]]) -> str:
    """What makes two complete rows: training what is missing, or the pairs to which all methods are applicable."""
    if inapplicable := [name for name, missing in incomplete.items() if any("not applicable" in m for m in missing)]:
        return f"Compare {' and '.join(inapplicable)} on other pairs: --pair TEACHER:STUDENT."
    plain = [name for name in incomplete if "[" not in name]
    wanted = ",".join(plain) if plain else as_options(next(iter(incomplete)))
    return f"Run: kdbench run --method {wanted} --suite {suite.name} --seeds {suite.seeds}"


def part_of(name: str, pairs: Sequence[str] = (), seeds: int | None = None, validate: bool = False) -> Suite:
    """A suite, or what of it is compared: some pairs, the first seeds, validation runs.

    Raises:
        KdbenchError: an unknown suite or pair, or no seed.
    """
    suite = load_suite(name)
    if validate:
        suite = suite.with_validation()
    if seeds is not None and seeds < 1:
        raise KdbenchError(f"--seeds {seeds}: give how many, 1 or more.")
    wanted = tuple(parse_pairs(suite, pairs))
    pair_statistics = suite.statistics.pairs if suite.statistics else {}
    statistics = suite.statistics
    if wanted != suite.pairs:  # what is stated of the mean over all pairs says nothing of some of them
        one = pair_statistics.get(str(wanted[0])) if len(wanted) == 1 else None
        statistics = Statistics(**one.model_dump()) if one else None
    chosen = {} if seeds is None else {"seeds": seeds, "most_seeds": None}
    return suite.model_copy(update={"pairs": wanted, "statistics": statistics, **chosen})


def find_metric(name: str, suite: Suite) -> Measured:
    """A metric by which methods can be compared image by image.

    Raises:
        KdbenchError: unknown, or no mean over images, or of no use with so few classes.
    """
    known = {m.name: m for m in measures(suite) if can_compare(m)}
    if name not in known:
        raise KdbenchError(
            f"Suite '{suite.name}' cannot be compared by '{name}' (--metric).{did_you_mean(name, known)}"
        )
    return known[name]


def measures(suite: Suite) -> list[Measured]:
    """All metrics of a suite."""
    return measures_of(suite.data.num_classes, bool(suite.tasks))


def can_compare(metric: Measured) -> bool:
    """Whether it is a mean over images."""
    return metric.per_image is not None if isinstance(metric, Metric) else metric.name == RANKED


def value_of(metric: Measured, entry: Entry) -> float:
    """A metric of one record."""
    if isinstance(metric, Metric):
        return metric.of(evidence_of(entry))
    assert entry.record.tasks is not None
    return metric.of(entry.record.tasks)


def by_image(metric: Measured, entry: Entry) -> np.ndarray:
    """(I,) what each test image adds to a metric that can be compared."""
    if isinstance(metric, Metric):
        assert metric.per_image is not None
        return metric.per_image(evidence_of(entry))
    return 100 * scores_of(entry)


def check_teachers(suite: Suite, rows: Sequence[Row[Entry]]) -> None:
    """Methods are comparable under the same teachers alone.

    Raises:
        KdbenchError: two teachers of one name.
    """
    seen: dict[str, tuple[str, Row[Entry]]] = {}
    for row in rows:
        read = [(entry.record.seed, teacher) for entry in row.cells.values() for teacher in entry.record.teachers]
        for seed, teacher in read:
            name = suite.teacher_of(teacher.model, seed)
            sha256, other = seen.setdefault(name, (teacher.sha256, row))
            if sha256 != teacher.sha256:
                raise KdbenchError(
                    f"{other.title} and {row.title} learned from different teachers '{name}' "
                    f"({sha256[:12]}, {teacher.sha256[:12]}). Train both under one: kdbench teach --suite {suite.name}"
                )


def values_of(row: Row[Entry], suite: Suite, of: Callable[[Entry], np.ndarray | float]) -> np.ndarray:
    """(P, S, ...) of a complete row: what `of` says of the record of each pair and seed."""
    pairs = pairs_of(suite)
    return row.values(pairs, seeds_in(row, suite), of)


def measured(
    rows: Sequence[Row[Entry]], suite: Suite, metric: Measured, others: Sequence[Row[Entry]] = ()
) -> Contrasts:
    """Every row minus every other.

    Args:
        others: the rows that moderate variances where the suite states nothing; else the compared ones.
    """
    samples = [sample_of(row, suite, metric) for row in rows]
    prior = stated_prior(suite) if metric.name == ranked_by(bool(suite.tasks)) else None
    if prior is None:
        known = [sample_of(row, suite, metric) for row in others] or samples
        prior = estimate_prior([s.scores for s in known])
    return contrast_samples(samples, prior)


def sample_of(row: Row[Entry], suite: Suite, metric: Measured) -> Sample:
    """What a complete row scored, the mean over pairs."""
    return sample(values_of(row, suite, partial(by_image, metric)), seeds_in(row, suite))


def seeds_in(row: Row[Entry], suite: Suite) -> list[int]:
    """The seeds of a complete row that are compared."""
    return seeds_of(row, pairs_of(suite), range(suite.seeds), suite.most_seeds)


def complete_rows(suite: Suite, runs: Path, results: Path | None) -> list[Row[Entry]]:
    """All rows of the suite that could be compared: what the board moderates variances by."""
    names = sorted(methods_in(suite, runs, results))
    rows = [row for name in names for row in read_rows(suite, name, runs, results, silent)]
    complete = [row for row in rows if not gaps(row, suite)]
    plain = next((row for row in complete if row.name == PLAIN), None)
    return [row for row in complete if not set_apart(row, plain)]


def contrasts_of(rows: Sequence[Row[Entry]], found: Contrasts, metric: Measured) -> list[Named]:
    """Every row against every later one; p-values are corrected over all of them."""
    return [
        Named(c.difference, c.adjusted, c.verdict, c.detectable, c.bounds, one=rows[i].title, other=rows[j].title)
        for (i, j), c in all_contrasts(found, metric.higher_is_better).items()
    ]


def standing_of(
    rows: Sequence[Row[Entry]], found: Contrasts, suite: Suite, metric: Measured
) -> list[Standing[Row[Entry]]]:
    """The rows in order, the best mean first; those that were tuned apart from the others, by their budget."""
    standing = [
        Standing(
            row,
            {m.name: mean_interval(values_of(row, suite, partial(value_of, m)).mean(axis=0)) for m in measures(suite)},
        )
        for row in rows
    ]
    ordered = []
    for track in tracks(standing):
        own = found if len(track) == len(rows) else measured([s.row for s in track], suite, metric, rows)
        set_places(track, own, metric.higher_is_better)
        ordered += sorted(track, key=lambda s: (s.place or 0, s.row.title))
    return ordered


def few(items: Sequence[str], most: int = 3) -> str:
    """The first of many items."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{len(items)} missing, {', '.join(items[:most])}{more}"
