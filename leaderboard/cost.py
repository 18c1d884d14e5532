"""What a method's training costs, as a multiple of the plain student's: one measure for all rows of a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kdbench_leaderboard.standings import Standing


@dataclass(frozen=True)
class Measure:
    """One way to count a training's cost.

    Attributes:
        of: a row's cost; None where it is not known.
        words: what is counted, for a column's help and an axis.
        steady: rows can be told cheap from dear by it; not by wall times, in which other work of a machine shows.
    """

    name: str
    of: Callable[[Standing], float | None]
    words: str
    steady: bool = True


def suite_ratio(s: Standing) -> float | None:
    """Wall time of a row's trainings over that of the plain student's."""
    return s.seconds[1] if s.seconds else None


ALONE = Measure("alone", lambda s: s.step_ratio, "time of a training step, alone on the machine")
COMPUTE = Measure("compute", lambda s: s.compute, "floating-point operations of the whole training, teachers included")
SUITE = Measure("suite", suite_ratio, "median wall time in the suite, beside other cells", steady=False)


def measure_of(rows: Sequence[Standing]) -> Measure:
    """The measure that a board is read by: the first that three quarters of the ranked rows have."""
    ranked = [s for s in rows if not s.gaps]
    for measure in (ALONE, COMPUTE):
        if ranked and sum(measure.of(s) is not None for s in ranked) >= 0.75 * len(ranked):
            return measure
    return SUITE
