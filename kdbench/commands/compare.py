"""`kdbench compare`: which of several methods is better on a suite, from their records. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.console import line_printer, write_json
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.layout import RESERVED
from kdbench.records.contrast import Contrasts, Sample, contrast_samples, sample
from kdbench.records.evidence import Evidence
from kdbench.records.metrics import METRICS, Metric, metrics_for
from kdbench.records.moderation import estimate_prior, moderation, stated_prior
from kdbench.records.power import detectable_between
from kdbench.records.rows import Row, find_row, gaps, pairs_of, read_rows, seeds_of, silent, with_recorded_content
from kdbench.records.standings import Contrast, Standing, all_contrasts, set_places
from kdbench.records.stats import mean_interval
from kdbench.records.store import Entry, evidence_of, find_results, find_runs
from kdbench.suite import Suite, load_suite
from kdbench.tables import NAME


@dataclass(frozen=True, kw_only=True)
class Named(Contrast):
    """One method against another, over all pairs."""

    one: str
    other: str

    @property
    def said(self) -> str:
        """Its verdict; one that lacks power says so."""
        return "undecided" if self.undecided else self.verdict


def compare(
    methods: Sequence[str],
    suite_name: str,
    runs: Path | None,
    results: Path | None,
    metric_name: str,
    console: Console,
    as_json: bool,
) -> int:
    """Compare rows pairwise and show their standing; returns the exit code.

    Raises:
        KdbenchError: fewer than two methods with every pair and seed, or a metric that cannot be compared.
    """
    suite, notice = load_suite(suite_name), line_printer(console)
    metric = find_metric(metric_name, suite)
    accepted, runs = find_results(results), find_runs(runs)
    suite = with_recorded_content(suite, [name.partition("[")[0] for name in methods], runs, accepted)
    rows, incomplete = [], {}
    for name in dict.fromkeys(methods):
        row = find_row(suite, name, runs, accepted, notice)
        if missing := gaps(row, suite):
            incomplete[name] = missing
            notice(f"{row.title} is incomplete and not compared: {few(missing)}.")
        else:
            rows.append(row)
    if len(rows) < 2:
        raise KdbenchError(
            f"Only {len(rows)} of the methods has a record of every pair and seed of '{suite.name}', and two are "
            f"needed. Run: kdbench run --method {','.join(incomplete) or 'NAME'} --suite {suite.name}"
        )
    check_teachers(suite, rows)
    stated = metric.name == "top1" and suite.statistics is not None
    found = measured(rows, suite, metric, () if stated else complete_rows(suite, runs, accepted))
    contrasts, standing = contrasts_of(rows, found, metric), standing_of(rows, found, suite, metric)
    if as_json:
        write_json(to_json(suite, metric, contrasts, standing, incomplete))
        return 0
    notice(f"Suite {suite.name}: {len(suite.pairs)} pairs, {suite.seeds} seeds, protocol {suite.fingerprint[:12]}")
    console.print(standing_table(standing, suite))
    console.print()
    console.print(contrast_table(contrasts, metric))
    notice("\n".join(notes(found, contrasts, suite, metric)))
    return 0


def notes(found: Contrasts, contrasts: Sequence[Named], suite: Suite, metric: Metric) -> list[str]:
    """What a reader must know of the verdicts."""
    said = ["Rank: place of the mean [ranks that 95 % confidence leaves open]; * not separable from the first."]
    least = detectable_between(found)
    if least is not None:
        size = f"{least:.1f} percentage points" if metric.unit == "%" else f"{least:.2g} {metric.unit}"
        said.append(f"{suite.seeds} seeds tell two methods of usual variance apart from {size} on, with 80 % power.")
    if any(c.undecided for c in contrasts):
        said.append(
            "Undecided: not told apart, and a difference that would be found as a rule is not ruled out either."
        )
    return [
        *said,
        moderation(found.prior),
        "p-values are corrected over the differences shown; the board corrects over all its rows and may say less.",
        "Intervals are of seeds and test images; one teacher of each architecture stands behind them.",
    ]


def find_metric(name: str, suite: Suite) -> Metric:
    """A metric by which methods can be compared image by image.

    Raises:
        KdbenchError: unknown, or no mean over images, or of no use with so few classes.
    """
    known = [m.name for m in metrics_for(suite.data.num_classes) if m.per_image]
    if name not in known:
        raise KdbenchError(
            f"Suite '{suite.name}' cannot be compared by '{name}' (--metric).{did_you_mean(name, known)}"
        )
    return METRICS[name]


def check_teachers(suite: Suite, rows: Sequence[Row[Entry]]) -> None:
    """Methods are comparable under the same teachers alone.

    Raises:
        KdbenchError: two teachers of one name.
    """
    seen: dict[str, tuple[str, Row[Entry]]] = {}
    for row in rows:
        for teacher in (teacher for entry in row.cells.values() for teacher in entry.record.teachers):
            sha256, other = seen.setdefault(teacher.model, (teacher.sha256, row))
            if sha256 != teacher.sha256:
                raise KdbenchError(
                    f"{other.title} and {row.title} learned from different teachers '{teacher.model}' "
                    f"({sha256[:12]}, {teacher.sha256[:12]}). Train both under one: kdbench teach --suite {suite.name}"
                )


def values_of(row: Row[Entry], suite: Suite, of: Callable[[Evidence], np.ndarray | float]) -> np.ndarray:
    """(P, S, ...) of a complete row: what `of` says of each pair and seed's evidence."""
    pairs = pairs_of(suite)
    return row.values(pairs, seeds_of(row, pairs, range(suite.seeds)), lambda entry: of(evidence_of(entry)))


def measured(rows: Sequence[Row[Entry]], suite: Suite, metric: Metric, others: Sequence[Row[Entry]] = ()) -> Contrasts:
    """Every row minus every other.

    Args:
        others: the rows that moderate variances where the suite states nothing; else the compared ones.
    """
    samples = [sample_of(row, suite, metric) for row in rows]
    prior = stated_prior(suite) if metric.name == "top1" else None
    if prior is None:
        known = [sample_of(row, suite, metric) for row in others] or samples
        prior = estimate_prior([s.scores for s in known])
    return contrast_samples(samples, prior)


def sample_of(row: Row[Entry], suite: Suite, metric: Metric) -> Sample:
    """What a complete row scored, the mean over pairs."""
    assert metric.per_image is not None
    return sample(values_of(row, suite, metric.per_image), seeds_of(row, pairs_of(suite), range(suite.seeds)))


def complete_rows(suite: Suite, runs: Path, results: Path | None) -> list[Row[Entry]]:
    """All rows of the suite that could be compared: what the board moderates variances by."""
    folders = [path for root in (results, runs) if root for path in (root / suite.name).glob("*") if path.is_dir()]
    names = sorted({path.name for path in folders if re.fullmatch(NAME, path.name)} - RESERVED)
    rows = [row for name in names for row in read_rows(suite, name, runs, results, silent)]
    return [row for row in rows if not gaps(row, suite)]


def contrasts_of(rows: Sequence[Row[Entry]], found: Contrasts, metric: Metric) -> list[Named]:
    """Every row against every later one; p-values are corrected over all of them."""
    return [
        Named(c.difference, c.adjusted, c.verdict, c.detectable, one=rows[i].title, other=rows[j].title)
        for (i, j), c in all_contrasts(found, metric.higher_is_better).items()
    ]


def standing_of(
    rows: Sequence[Row[Entry]], found: Contrasts, suite: Suite, metric: Metric
) -> list[Standing[Row[Entry]]]:
    """The rows in order, the best mean first."""
    known = metrics_for(suite.data.num_classes)
    standing = [
        Standing(row, {m.name: mean_interval(values_of(row, suite, m.of).mean(axis=0)) for m in known}) for row in rows
    ]
    set_places(standing, found, metric.higher_is_better)
    return sorted(standing, key=lambda s: (s.place or 0, s.row.title))


def few(items: Sequence[str], most: int = 3) -> str:
    """The first of many items."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return f"{len(items)} missing, {', '.join(items[:most])}{more}"


def standing_table(standing: Sequence[Standing[Row[Entry]]], suite: Suite) -> Table:
    title = Text("Standing, mean over pairs ± 95 % interval over seeds", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    heads = [f"{m.title}, {m.unit}" for m in metrics_for(suite.data.num_classes)]
    for head in ("rank", *heads):
        table.add_column(head, justify="right", no_wrap=True)
    for s in standing:
        digits = [3 if METRICS[name].unit == "nats" else 2 for name in s.metrics]
        means = [plus_minus(value, n) for value, n in zip(s.metrics.values(), digits, strict=True)]
        table.add_row(Text(s.row.title), ranked(s), *means)
    return table


def ranked(s: Standing[Row[Entry]]) -> str:
    """A row's place, with the ranks that are open."""
    if s.ranks is None:
        return str(s.place)
    mark = "*" if s.like_the_leader else ""
    return f"{mark}{s.place} [{s.ranks[0]} to {s.ranks[1]}]"


def contrast_table(contrasts: Sequence[Named], metric: Metric) -> Table:
    unit = "percentage points" if metric.unit == "%" else metric.unit
    title = Text(f"Differences in {metric.title}, {unit} [95 % interval]", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in ("method", "against"):
        table.add_column(head, overflow="fold")
    for head in ("difference", "p (Holm)", "verdict"):
        table.add_column(head, justify="right", no_wrap=True)
    digits = 2 if metric.unit == "%" else 3
    for c in contrasts:
        d = c.difference
        bounds = "[needs two seeds]" if d.low is None else f"[{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
        style = "bold" if c.verdict in ("better", "worse") else ""
        p = "" if c.adjusted is None else "<0.0001" if c.adjusted < 1e-4 else f"{c.adjusted:.4f}"
        said = Text(c.said, style=style)
        table.add_row(Text(c.one), Text(c.other), Text(f"{d.mean:+.{digits}f} {bounds}"), p, said)
    return table


def plus_minus(value: tuple[float, float | None], digits: int) -> str:
    mean, half = value
    return f"{mean:.{digits}f}" if half is None else f"{mean:.{digits}f} ±{half:.{digits}f}"


def to_json(
    suite: Suite,
    metric: Metric,
    contrasts: Sequence[Named],
    standing: Sequence[Standing[Row[Entry]]],
    incomplete: dict[str, list[str]],
) -> dict[str, Any]:
    """The same for a program."""
    return {
        "suite": suite.name,
        "fingerprint": suite.fingerprint,
        "metric": metric.name,
        "unit": metric.unit,
        "methods": [
            {
                "method": s.row.name,
                "origin": s.row.origin,
                "version": s.row.info.version,
                "rank": s.place,
                "rank_set": s.ranks,
                "metrics": {name: {"mean": mean, "half_interval": half} for name, (mean, half) in s.metrics.items()},
            }
            for s in standing
        ],
        "contrasts": [
            {
                "method": c.one,
                "against": c.other,
                "difference": c.difference.mean,
                "interval": [c.difference.low, c.difference.high],
                "degrees_of_freedom": c.difference.degrees_of_freedom,
                "p_value": c.difference.p_value,
                "p_value_corrected": c.adjusted,
                "detectable": c.detectable,
                "verdict": c.said,
            }
            for c in contrasts
        ],
        "incomplete": incomplete,
    }
