"""What all pages share. Templates escape everything; data reach the browser as scripts, escaped for scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kdbench_leaderboard import figures, paths
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.read import Store
from kdbench_leaderboard.standings import Standing, standings
from kdbench_leaderboard.tables import Cell

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
CAPTIONS = {
    "gains": "Gain over the plain student with its 95 % interval, over all pairs.",
    "heat": "Gain of each method on each pair, in percentage points; a star where it is measurable after "
    "correction over the methods of the pair. Colour is the gain's sign and size alone.",
    "ranks": "Place of each row's mean, with the ranks that 95 % confidence leaves open to it.",
    "compression": "Accuracy against compression: how many times fewer parameters the student has than its teacher.",
    "compute": "Accuracy against compute: operations of the whole training, with its teachers, peers and generations.",
    "cost": "Accuracy against what training cost in this suite: wall time, with other cells on the same machine.",
    "cost-alone": "Accuracy against what training would cost alone: a step timed with nothing else on the machine.",
    "seeds": "Each seed's accuracy (bars), its mean and 95 % interval (markers), the best method first.",
    "curves": "Test accuracy by epoch, the mean over seeds. A diagnostic: the last epoch counts.",
}
Page = tuple[str, str]  # path from the site's root, text


@dataclass
class Site:
    """What the pages are made of.

    Attributes:
        boards: every board with its rows in order.
    """

    store: Store
    boards: list[tuple[Board, list[Standing]]]
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        folder = FileSystemLoader(Path(__file__).parent / "templates")
        self.environment = Environment(
            loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.globals.update(policy=POLICY, empty=Cell(), suites=self.suites, updated=self.updated)

    @cached_property
    def main_boards(self) -> list[tuple[Board, list[Standing]]]:
        """One board a suite; the one with most records first."""
        main = [(board, rows) for board, rows in self.boards if board.main]
        return sorted(main, key=lambda both: (-len(both[0].found), both[0].suite))

    @cached_property
    def updated(self) -> str:
        """The date of the last record."""
        return max((cell.record.finished[:10] for cell in self.store.cells), default="")

    @cached_property
    def suites(self) -> list[dict[str, str]]:
        return [{"path": paths.suite(b), "label": b.suite, "title": b.title} for b, _ in self.main_boards]

    def page(self, template: str, path: str, title: str, here: str, **values: Any) -> Page:
        """One rendered page."""
        values = {"figures": None, "has_tables": True, **values}
        root = "../" * path.count("/")
        page = self.environment.get_template(template)
        return path, page.render(root=root, path=path, title=title, here=here, **values)


def make_site(store: Store) -> Site:
    return Site(store, [(board, standings(board, store.costs)) for board in make_boards(store)])


def script(name: str, value: Any) -> str:
    """Data as a script that is safe beside any markup: no '<', no line separators of JavaScript."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"kdbench.receive({json.dumps(name)},{text});\n"


def with_figures(name: str, found: dict[str, figures.Figure]) -> tuple[dict[str, Any], list[Page]]:
    """What a page with figures needs, and the script that holds them."""
    shown = [(key, CAPTIONS[key], figure["layout"]["height"]) for key, figure in found.items()]
    if not found:
        return {"shown": [], "figures": None}, []
    path = f"data/figures/{name}.js"
    return {"shown": shown, "figures": path}, [(path, script("figures", found))]
