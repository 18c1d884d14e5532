"""`kdbench tune`: parameters chosen by validation accuracy, after equally many trials of each method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.commands.ending import failed_lines
from kdbench.commands.estimate import count_kinds, duration, estimate_seconds
from kdbench.commands.machine import machine_of
from kdbench.commands.request import Request, parse_pairs, parse_seeds
from kdbench.commands.resuming import command_line
from kdbench.commands.run import open_mirror, seek_teachers, to_make
from kdbench.commands.search import Search
from kdbench.commands.spaces import check_grid, spaces_of
from kdbench.commands.suite_copy import block, write_copy
from kdbench.console import Notice, line_printer, write_json
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry, find_results
from kdbench.running.engines.events import Machine
from kdbench.running.expected import Expected
from kdbench.running.fleet import Outcome, train, train_teachers
from kdbench.running.kinds import check_kinds
from kdbench.running.last_batch import check_last_batches
from kdbench.running.plan import Cell, find_recorded, plan_cells, teachers_of
from kdbench.running.progress import bind_with_progress, load_with_progress
from kdbench.running.space import Space, grid_size, is_finite
from kdbench.running.study import open_study
from kdbench.running.tuning import Trial, Tuning, study_path
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Override, Pair

Entries = Mapping[str, Entry]


def tune(search: Search, console: Console) -> int:
    """Train what has no record of the trials, and say which was best.

    Returns:
        the exit code: 0, 1 if a cell failed or nothing could be chosen for a method, 130 after Ctrl-C.

    Raises:
        KdbenchError: anything that the user can mend.
    """
    outcome = Outcome()
    try:
        return answer(search, console, outcome)
    except KeyboardInterrupt:
        line_printer(console)(
            f"Stopped. {len(outcome.entries)} cells of the search are recorded in {search.request.out}; "
            f"those in training resume from their last checkpoint.\nResume: {command_line()}"
        )
        return 130


def answer(search: Search, console: Console, outcome: Outcome) -> int:
    """`tune` without its interruption; `outcome` is filled as cells end."""
    request, notice = search.request, line_printer(console)
    suite = load_suite(request.suite).with_validation()
    check_kinds(suite, request.methods)
    pairs, seeds = parse_pairs(suite, request.pairs), parse_seeds(suite, request.seeds)
    spaces = spaces_of(search.spaces, request.methods)
    if search.sampler == "grid" and search.budget is None:
        for name, space in spaces.items():
            check_grid(name, space, search.trials)
    machine = replace(machine_of(request), stored=False)
    suite = bind_with_progress(suite, console)
    needed, results = teachers_of(suite, request.methods, pairs, seeds), find_results(request.results)
    suite, teachers, missing = seek_teachers(suite, needed, None, results, notice)
    check_last_batches(suite, {pair.student for pair in pairs}, missing)
    if missing:
        notice(f"{to_make(suite, missing)}; the trials come after that.")
        load_with_progress(suite, console)
        teachers |= train_teachers(suite, missing, machine, console)

    def plan(method: str, params: Mapping[str, Any]) -> list[Cell]:
        return plan_cells(suite, {method: params}, pairs, seeds, teachers)

    if search.budget is not None:
        search = within(search, search.budget, suite, plan, machine, console)
    with ExitStack() as stack, open_mirror(request, notice) as mirror:
        tunings = [stack.enter_context(open_tuning(search, name, space, plan)) for name, space in spaces.items()]
        notice(plan_text(search, suite, pairs, seeds, tunings, machine))
        load_with_progress(suite, console)
        seen: set[str] = set()
        while cells := next_cells(tunings, outcome, seen, request, notice):
            train(Expected(suite).longest_first(cells), request.out, machine, console, outcome, mirror)
    return show(search, suite, tunings, outcome, console)


Plan = Callable[[str, Mapping[str, Any]], list[Cell]]


def within(search: Search, seconds: float, suite: Suite, plan: Plan, machine: Machine, console: Console) -> Search:
    """The same search, with as many trials of each method as the time is estimated to hold beside the defaults.

    Raises:
        KdbenchError: not even one.
    """
    methods: dict[str, dict[str, Any]] = {name: {} for name in search.request.methods}
    cells = [cell for name in methods for cell in plan(name, {})]
    each = estimate_seconds(suite, methods, count_kinds(cells), [], machine, console)
    trials = int(seconds / each) - 1 if each > 0 else search.trials
    if trials < 1:
        raise KdbenchError(
            f"--budget {duration(seconds)}: one setting of every method takes about {duration(each)}, and two are the "
            f"least. Give {duration(2.2 * each)} or more, or fewer --seeds or pairs."
        )
    said = f"One setting of every method takes about {duration(each)}: {trials} trials beside the defaults."
    line_printer(console)(said)
    return replace(search, trials=trials)


@contextmanager
def open_tuning(search: Search, method: str, space: Space, plan: Plan) -> Iterator[Tuning]:
    """A method's search, with its study's file; a space that has no more points than trials is tried whole.

    Raises:
        KdbenchError: the file cannot be written or read, or another process has it.
    """
    size, _ = grid_size(space, search.trials)
    whole = is_finite(space) and size <= search.trials
    sampler = "grid" if whole else search.sampler
    order = f"grid of {size}" if sampler == "grid" else sampler
    request = search.request
    cells = plan(method, {})
    path = study_path(request.out, cells[0].suite.name, method, space, order, cells)
    with open_study(path, space, sampler, search.trials) as study:
        yield Tuning(method, space, study, lambda params: plan(method, params))


def next_cells(
    tunings: Sequence[Tuning], outcome: Outcome, seen: set[str], request: Request, notice: Notice
) -> list[Cell]:
    """What to train next: of the trials that there are, else of those that are proposed now; nothing at the end.

    Args:
        seen: keys of cells that were looked for, or trained; these are added.
    """
    while True:
        cells = {cell.key: cell for tuning in tunings for trial in tuning.trials for cell in trial.cells}
        new = [cell for key, cell in cells.items() if key not in seen]
        seen |= set(cells)
        outcome.entries |= find_recorded(new, request.out, notice)
        if todo := [cell for cell in new if cell.key not in outcome.entries]:
            return todo
        proposed = [tuning.propose(outcome.entries) for tuning in tunings]
        if not any(proposed):
            return []


def plan_text(
    search: Search,
    suite: Suite,
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    tunings: Sequence[Tuning],
    machine: Machine,
) -> str:
    """The plan in a few lines."""
    lines = [
        f"Suite {suite.name}: {suite.title}; {suite.recipe.epochs} epochs on train without its "
        f"{suite.data.validation} validation images, by which parameters are chosen",
        f"Pairs {', '.join(map(str, pairs))}; seeds {', '.join(map(str, seeds))}; {machine}",
    ]
    for tuning in tunings:
        space = ", ".join(f"{name} in {values}" for name, values in tuning.space.items())
        trials = tuning.study.budget
        cells = len(tuning.trials[0].cells)
        few = " (all that there are)" if trials < search.trials else ""
        lines.append(f"{tuning.method}: {space}; its own setting and {trials} trials{few}, {cells} cells each")
    return "\n".join(lines)


def show(search: Search, suite: Suite, tunings: Sequence[Tuning], outcome: Outcome, console: Console) -> int:
    """Tables, what was chosen as tables of a suite's file, and what failed; returns the exit code."""
    request, notice, entries = search.request, line_printer(console), outcome.entries
    chosen: dict[str, dict[str, Any]] = {}
    diverged = {failure.cell.key for failure in outcome.failures if failure.diverged}  # a bad setting, and no more
    broken = [failure for failure in outcome.failures if not failure.diverged]
    for tuning in tunings:
        notice(f"\n{tuning.method}: top-1 validation accuracy in %, mean over pairs and seeds")
        console.print(trial_table(tuning, entries, diverged))
        if best := tuning.best(entries):
            chosen[tuning.method] = override_of(suite, tuning, best)
        else:
            notice(f"No trial of {tuning.method} has a result on every pair and seed: nothing is chosen.")
    if chosen:
        notice("\nChosen, for a suite's file:\n")
        notice("\n".join(block(method, override) for method, override in chosen.items()))
    notice(f"Records: {request.out / suite.name}")
    written = None
    if search.out is not None and chosen and not broken:
        name = write_copy(request.suite, chosen, search.out)
        written = str(search.out)
        notice(
            f"Written: {search.out}, suite '{name}'. Next: kdbench run --method {','.join(chosen)} --suite {written}"
        )
    for line in failed_lines(request, replace(outcome, failures=broken)):
        notice(line)
    if request.as_json:
        failures = [{"cell": str(f.cell), "key": f.cell.key, "message": f.message} for f in outcome.failures]
        methods = [as_json(tuning, entries, diverged, chosen.get(tuning.method)) for tuning in tunings]
        write_json({"suite": suite.name, "methods": methods, "written": written, "failures": failures})
    return 1 if broken or len(chosen) < len(tunings) else 0


def override_of(suite: Suite, tuning: Tuning, best: Trial) -> dict[str, Any]:
    """What a suite's file says of a method from now on: the chosen values hold on every pair."""
    own = suite.methods.get(tuning.method, Override(trials=0))
    params = {**own.params, **best.params}
    pairs = {
        pair: rest
        for pair, values in own.pairs.items()
        if (rest := {name: value for name, value in values.items() if name not in best.params})
    }
    found = {"params": params, "source": "tuned", "trials": len(tuning.study.trials)}
    return {**found, "pairs": pairs} if pairs else found


def trial_table(tuning: Tuning, entries: Entries, diverged: Collection[str]) -> Table:
    """The trials of a method in their order, the best one marked."""
    best = tuning.best(entries)
    table = Table(box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    for name in (*tuning.space, "accuracy"):
        table.add_column(Text(name), justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for trial in tuning.trials:
        value = trial.accuracy(entries)
        words = ["best"] * (trial is best) + ["its own setting"] * (trial.number == 0)
        words += [] if value is not None else [trial.lack(entries, diverged)]
        shown = [Text("per pair" if (v := trial.value(name)) is None else str(v)) for name in tuning.space]
        table.add_row(
            str(trial.number),
            *shown,
            "" if value is None else f"{value:.2f}",
            Text(", ".join(words)),
            style="bold" if trial is best else "",
        )
    return table


def as_json(
    tuning: Tuning, entries: Entries, diverged: Collection[str], override: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The same for a program."""
    best = tuning.best(entries)
    return {
        "method": tuning.method,
        "trials": [
            {
                "trial": trial.number,
                "params": {name: trial.value(name) for name in tuning.space},
                "accuracy": (accuracy := trial.accuracy(entries)),
                "lack": trial.lack(entries, diverged) if accuracy is None else None,
            }
            for trial in tuning.trials
        ],
        "best": best.number if best else None,
        "override": dict(override) if override is not None else None,
    }
