"""What a `kdbench tune` asks for, and its mistakes that need no torch to be seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.commands.request import Request
from kdbench.commands.spaces import Given, parse_spaces
from kdbench.errors import KdbenchError
from kdbench.running.study import Sampler, parse_sampler
from kdbench.suites import list_suites, load_suite
from kdbench.tables import NAME
from kdbench.training.limit import parse_duration

TRIALS = 8


@dataclass(frozen=True)
class Search:
    """A search for parameters.

    Attributes:
        request: the cells that a trial has, without the parameters.
        trials: of each method, beside its default.
        budget: seconds, from which `trials` follows once a trial's time is known; None for none.
        out: the suite file to write; None for none.
    """

    request: Request
    spaces: tuple[Given, ...]
    trials: int
    sampler: Sampler
    out: Path | None
    budget: float | None = None


def parse_search(
    request: Request,
    spaces: Sequence[str],
    trials: int | None,
    sampler: str,
    out: Path | None,
    budget: str | None = None,
) -> Search:
    """The options of a search.

    Raises:
        KdbenchError: one of another form, no budget, no Optuna, a suite without a validation part yet, a suite file
            that cannot be written so.
    """
    given = parse_spaces(spaces, request.methods)
    if trials is not None and budget is not None:
        raise KdbenchError(f"--trials {trials} and --budget {budget} both say how much is tried. Leave one out.")
    seconds = None if budget is None else parse_duration(budget, "--budget ")
    trials = TRIALS if trials is None else trials
    if trials < 1:
        raise KdbenchError(f"--trials {trials}: a search needs 1 or more.")
    suite = load_suite(request.suite)
    if suite.data.is_large:
        raise KdbenchError(
            f"The large images of '{suite.name}' have no validation part yet, which tune goes by. Choose another suite."
        )
    if out is not None:
        check_out(out)
    return Search(request, tuple(given), trials, parse_sampler(sampler), out, seconds)


def check_out(out: Path) -> None:
    """A suite file can be written there, and be named after the file.

    Raises:
        KdbenchError: it cannot.
    """
    if out.suffix != ".toml" or not re.fullmatch(NAME, out.stem):
        raise KdbenchError(f"--out {out}: a suite file is named in lower case and ends in .toml, such as mine.toml.")
    if out.stem in list_suites():
        raise KdbenchError(f"--out {out}: '{out.stem}' is a built-in suite. Choose another name.")
    if out.exists():
        raise KdbenchError(f"--out {out}: it is there already. Remove it, or choose another name.")
    if not out.absolute().parent.is_dir():
        raise KdbenchError(f"--out {out}: there is no folder {out.parent}.")
