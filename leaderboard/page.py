"""What all pages share. Templates escape everything; data reach the browser as scripts, escaped for scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.figure_parts import Figure
from kdbench_leaderboard.learn.words import spoken
from kdbench_leaderboard.origin import NOWHERE, Origin
from kdbench_leaderboard.published import method_names, published
from kdbench_leaderboard.read import Store
from kdbench_leaderboard.standings import Standing, standings
from kdbench_leaderboard.tables import Cell, Table
from kdbench_leaderboard.verdicts import ICONS, WORDS

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
SUMMARY = "Which knowledge distillation methods are better, measurably, under one protocol"
SHAPES = "Circles: with a teacher, squares: online, diamonds: self-distillation, crosses: controls; hollow: yours."
CAPTIONS = {
    "tasks": "Accuracy after each task on the test images of all classes so far, mean over seeds. Dotted: controls.",
    "gains": f"Gain over the plain student with its 95 % interval. {SHAPES}",
    "heat": "Gain of each method on each pair, in percentage points; coloured and starred where it is measurable after "
    "correction over the methods of the pair.",
    "ranks": "Place of each row's mean, with the ranks that 95 % confidence leaves open to it.",
    "compression": "Accuracy against compression: how many times fewer parameters the student has than its teacher.",
    "compute": "Accuracy against compute: operations of the whole training, with its teachers, peers and generations.",
    "cost": "Accuracy against the median wall time of a training in this suite. Machines did other work beside it, so "
    "small differences in time mean nothing, and no front is drawn.",
    "cost-alone": "Accuracy against what training would cost alone: a step timed with nothing else on the machine.",
    "seeds": "Each seed's accuracy (bars), its mean and 95 % interval (markers), the best method first.",
    "curves": "Test accuracy by epoch, the mean over seeds. A diagnostic: the last epoch counts.",
}
Page = tuple[str, str | bytes]  # path from the site's root, content


@dataclass
class Site:
    """What the pages are made of.

    Attributes:
        boards: every board with its rows in order.
    """

    store: Store
    boards: list[tuple[Board, list[Standing]]]
    origin: Origin = NOWHERE
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        folder = FileSystemLoader(Path(__file__).parent / "templates")
        self.environment = Environment(
            loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.globals.update(
            policy=POLICY, empty=Cell(), suites=self.suites, updated=self.updated, icons=ICONS, words=WORDS
        )
        self.environment.globals.update(origin=self.origin)

    @cached_property
    def main_boards(self) -> list[tuple[Board, list[Standing]]]:
        """One board a suite; first the one that tells most: with ranked rows, made for choosing, of most records."""

        def telling(both: tuple[Board, list[Standing]]) -> tuple[bool, bool, int, str]:
            board, rows = both
            return sum(not s.gaps for s in rows) < 2, bool(board.purpose), -len(board.found), board.suite

        return sorted(((board, rows) for board, rows in self.boards if board.main), key=telling)

    @property
    def card(self) -> str:
        """The picture of the board that comes first."""
        return paths.card(self.main_boards[0][0]) if self.main_boards else ""

    @cached_property
    def method_paths(self) -> list[str]:
        """Names of methods that have a page, measured or published."""
        return sorted({*self.measured, *self.published_only})

    @cached_property
    def measured(self) -> set[str]:
        return {row.info.name for board, _ in self.boards for row in board.rows}

    @cached_property
    def published_only(self) -> list[str]:
        """Methods that others published and no record measures, by what measures them or would."""
        return sorted(
            p for p in {p.method for p in published()} if not self.measured & {p, *method_names()[p].measured_by}
        )

    @cached_property
    def updated(self) -> str:
        """The date of the last record."""
        return max((cell.record.finished[:10] for cell in self.store.cells), default="")

    @cached_property
    def suites(self) -> list[dict[str, str]]:
        return [{"path": paths.suite(b), "label": b.suite, "title": b.title} for b, _ in self.main_boards]

    def page(self, template: str, path: str, title: str, here: str, **values: Any) -> Page:
        """One rendered page."""
        usual = {"figures": None, "has_tables": True, "summary": SUMMARY, "card": self.card, "lang": "en"}
        values = {**usual, **values}
        values["say"] = spoken(values["lang"])
        root = "../" * path.count("/")
        page = self.environment.get_template(template)
        return path, page.render(root=root, path=path, title=title, here=here, **values)


def further_columns(site: Site, path: str, table: Table) -> Page:
    """The script with a table's columns that are not seen at first, as the page at `path` would have them.

    They are most of a large page, which would be parsed before anything can be clicked.
    """
    table.further = path.removesuffix(".html") + "/columns"
    template = site.environment.get_template("further.html")
    rows = template.render(root="../" * path.count("/"), table=table, say=spoken("en"))
    return f"data/{table.further}.js", script(table.further, rows)


def make_site(store: Store, origin: Origin = NOWHERE) -> Site:
    return Site(store, [(board, standings(board, store.costs)) for board in make_boards(store)], origin)


def script(name: str, value: Any) -> str:
    """Data as a script that is safe beside any markup: no '<', no line separators of JavaScript."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"kdbench.receive({json.dumps(name)},{text});\n"


def with_figures(name: str, found: dict[str, Figure]) -> tuple[dict[str, Any], list[Page]]:
    """What a page with figures needs, and the script that holds them."""
    shown = [
        (key, f"{CAPTIONS[key]} {figure['layout']['meta']['note']}".strip(), figure["layout"]["height"])
        for key, figure in found.items()
        if key in CAPTIONS
    ]
    if not found:
        return {"shown": [], "figures": None}, []
    path = f"data/figures/{name}.js"
    return {"shown": shown, "figures": path}, [(path, script("figures", found))]
