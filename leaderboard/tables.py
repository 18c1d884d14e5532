"""A table as data, for every page alike: what a reader sees, what sorting uses, what a download holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from kdbench.records.standings import Estimate
from kdbench.records.stats import Difference, Verdict


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        kind: numbers are aligned, sorted and exported as numbers.
        help: what it is, for a tooltip.
        hidden: not shown until the visitor chooses it.
        group: shown only while this view is chosen ('all' or a pair); None for always.
        wide: holds sentences.
        phone: shown on a narrow screen, too.
    """

    key: str
    title: str
    kind: Literal["text", "number"] = "text"
    help: str = ""
    hidden: bool = False
    group: str | None = None
    wide: bool = False
    phone: bool = True

    @property
    def unseen(self) -> bool:
        """Whether a reader has to ask for it."""
        return self.hidden or self.group not in (None, "all")


@dataclass(frozen=True)
class Part:
    """A further number of a cell; a download has it in a column of its own.

    Attributes:
        name: of that column, after the cell's own.
        text: as shown after the cell's text; empty for a number that only downloads hold.
        title: a tooltip.
    """

    name: str
    value: float
    text: str = ""
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """What one row says in one column.

    Attributes:
        text: what is shown.
        value: what sorts and is exported; the text where it is None.
        href: a page of this site.
        external: an address elsewhere, made from checked parts only.
        title: a tooltip.
        parts: further numbers after the text.
        tags: short flags after both, each with its explanation.
        low, high: bounds of the value's interval.
        draw: show the interval as a picture too, on the table's own scale.
        mark: the verdict's icon with its word, a key of `verdicts.WORDS`; apart in downloads.
        beneath: a second line that narrow screens show in place of columns that they hide, or that lie beyond them.
    """

    text: str = ""
    value: float | None = None
    href: str | None = None
    external: str | None = None
    title: str = ""
    parts: tuple[Part, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    low: float | None = None
    high: float | None = None
    draw: bool = False
    style: str = ""
    mark: str = ""
    beneath: Cell | None = None

    @property
    def plain(self) -> bool:
        """Whether it is a text and nothing else."""
        return not (self.href or self.external or self.mark or self.parts or self.tags or self.beneath)


@dataclass
class Line:
    """One row of a table.

    Attributes:
        filters: values by filter name; a list where a row has several.
        paper: key of a paper, for BibTeX.
        section: of a table in blocks, the block's title.
        words: what a search finds the line by.
    """

    cells: dict[str, Cell]
    filters: dict[str, list[str]] = field(default_factory=dict)
    paper: str = ""
    muted: bool = False
    section: str = ""
    words: str = ""


@dataclass
class Table:
    """A table with its caption; `choices` are its filters: name, label, values.

    Attributes:
        further: the name of the script that holds the columns that are not seen at first; empty where the page does.
    """

    id: str
    caption: str
    columns: list[Column]
    lines: list[Line]
    choices: list[tuple[str, str, list[str]]] = field(default_factory=list)
    views: list[tuple[str, str]] = field(default_factory=list)
    further: str = ""

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """By column, the range of the intervals drawn in it, with 0; far ones end at its edge."""
        found = {}
        for column in self.columns:
            cells = [line.cells[column.key] for line in self.lines if column.key in line.cells]
            bounds = [v for c in cells if c.draw for v in (c.low, c.value, c.high) if v is not None]
            if bounds:
                usual = sorted(map(abs, bounds))[(3 * len(bounds)) // 4]
                found[column.key] = max(min(0.0, *bounds), -2 * usual), min(max(0.0, *bounds), 2 * usual)
        return found

    @property
    def head(self) -> int:
        """The column that names the row."""
        return next((i for i, c in enumerate(self.columns) if c.kind == "text"), 0)

    @property
    def sections(self) -> list[tuple[str, list[Line]]]:
        """Lines by block, in order."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.section, []).append(line)
        return list(found.items())


def number(value: float | None, digits: int = 2, sign: bool = False, missing: str = "–") -> Cell:
    if value is None:
        return Cell(missing)
    return Cell(f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}", value)


def estimate(value: Estimate | None, digits: int = 2) -> Cell:
    """A mean with half its interval."""
    if value is None:
        return Cell("–")
    mean, half = value
    if half is None:
        return Cell(f"{mean:.{digits}f}", mean)
    return Cell(f"{mean:.{digits}f} ± {half:.{digits}f}", mean, low=mean - half, high=mean + half)


def difference(value: Difference | None, verdict: Verdict = "not compared", draw: bool = False) -> Cell:
    """A difference with its interval, coloured by its verdict; `draw` adds the interval as a picture."""
    if value is None:
        return Cell("–")
    if value.low is None or value.high is None:
        return Cell(f"{value.mean:+.2f}", value.mean, title="one seed: no interval", draw=draw)
    text = f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"
    style = verdict if verdict in ("better", "worse") else ""
    return Cell(text, value.mean, low=value.low, high=value.high, draw=draw, style=style)


def p_value(value: float | None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell("< 0.0001" if value < 1e-4 else f"{value:.4f}", value)


def choices(name: str, label: str, lines: Iterable[Line]) -> tuple[str, str, list[str]]:
    """A filter with the values that occur."""
    values = {value for line in lines for value in line.filters.get(name, []) if value}
    return name, label, sorted(values)
