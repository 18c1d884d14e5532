"""The live display of a run: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kdbench.data.access import decode_ahead, with_content
from kdbench.data.sources import OnRows
from kdbench.networks.packages import with_sources
from kdbench.running.engines.events import Event, Failed, Finished, Noticed, Progressed, Stopped, Waiting
from kdbench.running.own_weights import with_own_weights
from kdbench.running.plan import Cell
from kdbench.suite import Suite
from kdbench.tables import Data


def bind_with_progress(suite: Suite, console: Console) -> Suite:
    """A suite with the content of its data and weights, which are read for it where their content is not known."""
    suite = with_own_weights(with_sources(suite))
    with reading(suite.data, console) as on_rows:
        return with_content(suite, on_rows)


def load_with_progress(suite: Suite, console: Console) -> None:
    """Have a suite's data decoded and cached before the workers ask for them."""
    with reading(suite.data, console) as on_rows:
        decode_ahead(suite.data, on_rows)


@contextmanager
def reading(data: Data, console: Console) -> Iterator[OnRows]:
    """A bar, shown from the first rows on."""
    columns = (TextColumn("reading {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape(data.source), total=data.train + data.test, visible=False)
        yield lambda rows: progress.update(task, completed=rows, visible=True)


class Display:
    """Shows events: overall progress with the time left, and a line for each cell in training."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.done, self.total = 0, total
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.overall = self.progress.add_task("all cells", total=total, loss="")
        self.rows: dict[str, TaskID] = {}
        self.places: dict[str, str] = {}
        self.said: set[str] = set()

    def __enter__(self) -> Display:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def show(self, event: Event) -> None:
        """Update the display for one event of an engine."""
        match event:
            case Progressed(cell, epochs_done, epochs, None, where):
                self.remove(cell)  # of a computer that was lost
                self.places[cell.key] = f" on {where}" if where else ""
                name = escape(f"{cell}{self.places[cell.key]}")
                self.rows[cell.key] = self.progress.add_task(name, total=epochs, completed=epochs_done, loss="")
            case Progressed(cell, epochs_done, _, loss) if cell.key in self.rows:
                self.progress.update(self.rows[cell.key], completed=epochs_done, loss=f"loss {loss:.3f}")
            case Finished(cell):
                self.end(cell)
            case Failed(cell, message):
                self.end(cell)
                where = self.places.get(cell.key, "")
                self.console.print(f"[red]failed[/] {escape(f'{cell}{where}')}: {escape(message)}", highlight=False)
            case Stopped(cell):
                self.remove(cell)
            case Noticed(text) if text not in self.said:  # by one cell after another
                self.said.add(text)
                self.console.print(escape(text), highlight=False)
            case Waiting(cells):
                self.progress.update(self.overall, description=f"{cells} in training by another run")

    def end(self, cell: Cell) -> None:
        self.done += 1
        self.remove(cell)
        self.progress.update(self.overall, completed=self.done, description="all cells")
        if not self.console.is_terminal:
            line = f"[{self.done}/{self.total}] {cell}{self.places.get(cell.key, '')}"
            self.console.print(line, markup=False, highlight=False)

    def remove(self, cell: Cell) -> None:
        """Show no line of a cell any longer, if it had one."""
        if cell.key in self.rows:
            self.progress.remove_task(self.rows.pop(cell.key))
