"""A device's hours put to use: the cells of a list, in its order, as many as a time limit allows.

    PYTHONPATH=. python benchmarks/campaign.py benchmarks/campaigns/cifar100.toml --time-limit 9m --archive new.tar.gz
    PYTHONPATH=. python benchmarks/campaign.py --unpack new.tar.gz

Run again, it goes on where it stopped, on another machine too once the archive is unpacked there. Cells that have an
accepted record are done, unless --again. A campaign is a TOML file of `[[parts]]`, each of a suite, pairs, methods and
seeds as `kdbench run` has them. Exit codes are kdbench's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError
from rich.console import Console

from benchmarks.archive import pack, unpack
from kdbench.commands.ending import failed_lines
from kdbench.commands.request import (
    Request,
    check_request,
    parse_data_dir,
    parse_device,
    parse_execution,
    parse_pairs,
    parse_seeds,
    parse_workers,
)
from kdbench.commands.resuming import NOT_FINISHED, is_begun, not_finished, unfinished
from kdbench.commands.run import seek_teachers
from kdbench.console import Notice, line_printer, open_console
from kdbench.errors import KdbenchError, first_problem
from kdbench.layout import RUNS
from kdbench.records.store import Entry, find_results
from kdbench.running.engines.events import Machine
from kdbench.running.fleet import Outcome, train, train_teachers
from kdbench.running.plan import Cell, find_accepted, find_recorded, plan_cells, teachers_of
from kdbench.running.progress import bind_with_progress, load_with_progress
from kdbench.running.teachers import Teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution, Pair, Table
from kdbench.training.limit import TimeLimit, time_limit


class Part(Table):
    """One entry of the list.

    Attributes:
        pairs: of the suite; all of them if left out.
        seeds: "5" for 0 to 4, or "0,2"; the suite's own if left out.
    """

    suite: str
    pairs: tuple[str, ...] = ()
    methods: tuple[str, ...] = Field(min_length=1)
    seeds: str | None = None

    def request(self, out: Path) -> Request:
        return Request(self.suite, self.methods, self.pairs, self.seeds, out=out)


class Campaign(Table):
    """A file's list."""

    parts: tuple[Part, ...] = Field(min_length=1)


def load_campaign(path: Path) -> Campaign:
    """Read a campaign and check its names.

    Raises:
        KdbenchError: no such file, another form, or an unknown suite, pair or method.
    """
    try:
        campaign = Campaign.model_validate_json(
            json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str)
        )
    except (OSError, UnicodeDecodeError) as error:
        raise KdbenchError(f"Cannot read the campaign {path}: {getattr(error, 'strerror', None) or error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise KdbenchError(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        raise KdbenchError(f"{path}: {first_problem(error)}.") from error
    for part in campaign.parts:
        check_request(part.request(RUNS))
    return campaign


@dataclass
class Plan:
    """A part with its cells, as far as its teachers are there."""

    part: Part
    suite: Suite
    pairs: Sequence[Pair]
    teachers: dict[str, Teacher]
    missing: Sequence[str]

    @property
    def cells(self) -> list[Cell]:
        seeds = parse_seeds(self.suite, self.part.seeds)
        return plan_cells(self.suite, {name: {} for name in self.part.methods}, self.pairs, seeds, self.teachers)

    def describe(self, number: int, cells: Sequence[Cell], outcome: Outcome, root: Path) -> str:
        """The part in a line: what is done of it and what is not."""
        left = unfinished(cells, outcome)
        methods = self.part.methods if len(self.part.methods) < 4 else (*self.part.methods[:2], "...")
        what = f"{self.suite.name} {', '.join(map(str, self.pairs))}: {', '.join(methods)}"
        begun = sum(is_begun(cell, root) for cell in left)
        counts = f"{len(cells)} cells, {len(cells) - len(left)} done, {begun} in training, {len(left) - begun} to train"
        return f"{number}. {what}: {counts}" + (f"; teachers first: {', '.join(self.missing)}" if self.missing else "")


def make_plans(campaign: Campaign, console: Console) -> list[Plan]:
    """The parts with the teachers that are here."""
    notice, results, plans = line_printer(console), find_results(None), []
    suites: dict[str, Suite] = {}
    for part in campaign.parts:
        if part.suite not in suites:
            suites[part.suite] = bind_with_progress(load_suite(part.suite), console)
        suite = suites[part.suite]
        pairs = parse_pairs(suite, part.pairs)
        names = teachers_of(suite, part.methods, pairs, parse_seeds(suite, part.seeds))
        plans.append(Plan(part, suite, pairs, *seek_teachers(suite, names, None, results, notice)[1:]))
    return plans


def find_done(cells: Sequence[Cell], out: Path, results: Path | None, notice: Notice) -> dict[str, Entry]:
    """The records of cells below `out`, and the accepted ones of others, by key."""
    return (find_accepted(cells, results) if results else {}) | find_recorded(cells, out, notice)


def cells_of(plans: Sequence[Plan]) -> list[Cell]:
    """The cells of parts in their order, each once."""
    return list({cell.key: cell for plan in plans for cell in plan.cells}.values())


def show_plan(plans: Sequence[Plan], outcome: Outcome, out: Path, notice: Notice) -> None:
    """What is done and what is next."""
    for number, plan in enumerate(plans, 1):
        notice(plan.describe(number, plan.cells, outcome, out))
    following = [f"teacher {name}" for plan in plans[:1] for name in plan.missing]
    following += [str(cell) for cell in unfinished(cells_of(plans), outcome)]
    if following:
        notice(f"Next: {'; '.join(following[:3])}{'; ...' if len(following) > 3 else ''}")


def batches(plans: Sequence[Plan], machine: Machine, console: Console) -> Iterator[list[Cell]]:
    """The parts' cells in their order, as many at once as have their teachers; missing ones are trained in between."""
    ready: list[Plan] = []
    for plan in plans:
        names = [name for name in plan.missing if name not in plan.teachers]
        if names and machine.limit.suffices():
            yield cells_of(ready)
            ready = []
            load_with_progress(plan.suite, console)
            trained = train_teachers(plan.suite, names, machine, console)
            for other in plans:
                if other.suite.name == plan.suite.name:
                    other.teachers |= trained
                    other.missing = [name for name in other.missing if name not in trained]
        ready.append(plan)
    yield cells_of(ready)


def run_campaign(
    plans: Sequence[Plan], out: Path, results: Path | None, machine: Machine, limit: TimeLimit, console: Console
) -> int:
    """Train what has no record, in the list's order; returns the exit code."""
    notice, outcome = line_printer(console), Outcome()
    outcome.entries |= find_done(cells_of(plans), out, results, notice)
    show_plan(plans, outcome, out, notice)
    for cells in batches(plans, machine, console) if limit.suffices() else ():
        outcome.entries |= find_recorded(cells, out, notice)
        todo = [cell for cell in unfinished(cells, outcome) if not cell.awaits]
        for suite in {cell.suite.name: cell.suite for cell in todo}.values():
            load_with_progress(suite, console)
        if todo:
            train(todo, out, machine, console, outcome)
        if not limit.suffices():
            break
    cells = cells_of(plans)
    for line in failed_lines(Request("", (), out=out), outcome):
        notice(line)
    if unfinished(cells, outcome):
        notice(not_finished(cells, outcome, out, f"PYTHONPATH=. python {shlex.join(sys.argv)}"))
        return NOT_FINISHED
    notice(f"All {len(cells)} cells of the campaign are done; new records are in {out}")
    return 1 if outcome.failures else 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("campaign", type=Path, nargs="?", help="a TOML file of parts")
    parser.add_argument("--time-limit", help="90s, 9m, 1h30m, of which packing the archive needs a little more")
    parser.add_argument("--plan", action="store_true", help="say what is done and what is next, and stop")
    parser.add_argument("--archive", type=Path, help="write what is new, records and checkpoints, into this .tar.gz")
    parser.add_argument("--unpack", type=Path, help="restore such an archive first")
    parser.add_argument("--out", type=Path, default=RUNS, help="where records go")
    parser.add_argument("--again", action="store_true", help="train cells that have an accepted record, too")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", default="auto", help="cells at a time, on each GPU")
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    options = parser.parse_args()
    if options.campaign is None and options.unpack is None:
        parser.error("name a campaign, or an archive to --unpack")
    return options


def answer(options: argparse.Namespace, limit: TimeLimit) -> int:
    """What the options ask for; returns the exit code."""
    console, started = open_console(), time.time()
    notice = line_printer(console)
    if options.unpack:
        notice(f"{unpack(options.unpack, options.out)} files restored from {options.unpack}")
    if options.campaign is None:
        return 0
    parse_data_dir(options.data_dir)
    campaign, devices = load_campaign(options.campaign), parse_device(options.device)
    execution: Execution = parse_execution("eager" if options.eager else None, devices)
    machine = Machine(devices, parse_workers(options.workers, devices), execution, limit, stored=True)
    plans, results = make_plans(campaign, console), None if options.again else find_results(None)
    if options.plan:
        show_plan(plans, Outcome(find_done(cells_of(plans), options.out, results, notice)), options.out, notice)
        return 0
    try:
        return run_campaign(plans, options.out, results, machine, limit, console)
    finally:
        if options.archive:
            notice(f"{pack(options.archive, options.out, started)} new files in {options.archive}")


def main() -> None:
    options = parse_options()
    try:
        with time_limit(options.time_limit) as limit:
            sys.exit(answer(options, limit))
    except KdbenchError as error:
        sys.stderr.write(f"campaign: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("campaign: stopped. Run the same command again to go on.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
