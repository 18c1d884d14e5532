"""`kdbench compare`: which of several methods is better on a suite, from their records. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.commands.comparison import Comparison, Named, comparison, measures, seeds_in
from kdbench.console import line_printer, write_json
from kdbench.records.limits import covered
from kdbench.records.metrics import Measure
from kdbench.records.moderation import moderation
from kdbench.records.power import detectable_between, seeds_said
from kdbench.records.rows import Row
from kdbench.records.standings import MATTERS, Standing, track_title, tracks
from kdbench.records.store import Entry
from kdbench.suite import Suite


def compare(
    methods: Sequence[str],
    suite: Suite,
    runs: Path | None,
    results: Path | None,
    metric_name: str | None,
    console: Console,
    as_json: bool,
) -> int:
    """Compare rows pairwise and show their standing; returns the exit code.

    Raises:
        KdbenchError: as `comparison`.
    """
    notice = line_printer(console)
    it = comparison(methods, suite, runs, results, metric_name, notice)
    if as_json:
        write_json(to_json(it.suite, it.metric, it.contrasts, it.standing, it.incomplete))
        return 0
    pairs, seeds, protocol = len(it.suite.pairs), seeds_said(it.found.seeds.tolist()), it.suite.fingerprint[:12]
    notice(f"Suite {it.suite.name}: {pairs} pair{'' if pairs == 1 else 's'}, {seeds}, protocol {protocol}")
    for reason in it.suite.off_protocol:
        notice(f"Off protocol, not for the board: {reason}")
    console.print(standing_table(it.standing, it.suite))
    console.print()
    console.print(contrast_table(it.contrasts, it.metric))
    notice("\n".join(notes(it)))
    return 0


def notes(it: Comparison) -> list[str]:
    """What a reader must know of the verdicts."""
    found, metric = it.found, it.metric
    said = ["Rank: place of the mean [ranks that 95 % confidence leaves open]; * not separable from the first."]
    least = detectable_between(found)
    if least is not None:
        size = f"{least:.1f} percentage points" if metric.unit == "%" else f"{least:.2g} {metric.unit}"
        seeds = seeds_said(found.seeds.tolist())
        said.append(f"{seeds} tell two methods of usual variance apart from {size} on, with 80 % power.")
    if any(c.undecided for c in it.contrasts):
        said.append(f"Undecided: not told apart, and a difference of {MATTERS:.1f} points is not ruled out either.")
    taught = any(entry.record.teachers for s in it.standing for entry in s.row.cells.values())
    teachers = f" {covered(it.suite.teachers_each, max(found.seeds))}" if taught else ""
    return [
        *said,
        moderation(found.prior),
        "p-values are corrected over the differences shown; the board corrects over all its rows and may say less.",
        f"Intervals are of seeds and test images.{teachers}",
    ]


def standing_table(standing: Sequence[Standing[Row[Entry]]], suite: Suite) -> Table:
    title = Text("Standing, mean over pairs ± 95 % interval over seeds", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    known = {m.name: m for m in measures(suite)}
    heads = [f"{m.title}, {m.unit}" for m in known.values()]
    seeds = [len(seeds_in(s.row, suite)) for s in standing]
    differ = len(set(seeds)) > 1
    for head in ("rank", *(["seeds"] if differ else []), *heads):
        table.add_column(head, justify="right", no_wrap=True)
    several = len(tracks(standing)) > 1
    for n, s in enumerate(standing):
        if several and (n == 0 or s.budget != standing[n - 1].budget):
            table.add_row(Text(f"{track_title(s.budget)}:", style="dim"))
        digits = [3 if known[name].unit == "nats" else 2 for name in s.metrics]
        means = [plus_minus(value, digit) for value, digit in zip(s.metrics.values(), digits, strict=True)]
        table.add_row(Text(s.row.title), ranked(s), *([str(seeds[n])] if differ else []), *means)
    return table


def ranked(s: Standing[Row[Entry]]) -> str:
    """A row's place, with the ranks that are open."""
    if s.ranks is None:
        return str(s.place)
    mark = "*" if s.like_the_leader else ""
    return f"{mark}{s.place} [{s.ranks[0]} to {s.ranks[1]}]"


def contrast_table(contrasts: Sequence[Named], metric: Measure) -> Table:
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
    metric: Measure,
    contrasts: Sequence[Named],
    standing: Sequence[Standing[Row[Entry]]],
    incomplete: dict[str, list[str]],
) -> dict[str, Any]:
    """The same for a program."""
    return {
        "suite": suite.name,
        "fingerprint": suite.fingerprint,
        "off_protocol": list(suite.off_protocol),
        "metric": metric.name,
        "unit": metric.unit,
        "methods": [
            {
                "method": s.row.name,
                "origin": s.row.origin,
                "version": s.row.info.version,
                "tuned_trials": s.budget,
                "seeds": len(seeds_in(s.row, suite)),
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
