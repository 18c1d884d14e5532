"""What a board answers, in sentences from its data: what beats the plain student, what beats KD, what can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.records.power import detectable_from
from kdbench.records.rows import KD, PLAIN, RANDOM
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.standings import Standing, differences_of
from kdbench_leaderboard.verdicts import mark

MOST_NAMES = 8
SPOKEN = {PLAIN: "the plain student", KD: "plain KD", RANDOM: "as many random real images"}


@dataclass(frozen=True)
class Answer:
    """One sentence of the headline.

    Attributes:
        mark: the verdict that it is about, as in the tables.
        brief: what narrow screens show of it; empty for one that these leave out.
        rest: what follows elsewhere.
    """

    mark: str
    brief: str
    rest: str = ""

    @property
    def text(self) -> str:
        """All of it."""
        return self.brief + self.rest


def headline(board: Board, rows: Sequence[Standing]) -> list[Answer]:
    """The answers above a ranking; none of a board without two ranked rows."""
    ranked = [s for s in rows if not s.gaps and s.budget is None]
    if len(ranked) < 2:
        return []
    methods = [s for s in ranked if s.row.info.scheme != "baseline"]
    if board.images_per_class is not None:  # no small training set is to beat the whole one
        said = [answer(methods, RANDOM)]
    else:
        said = [answer(methods, PLAIN), answer([s for s in methods if s.reference != KD], KD), reference(ranked)]
    return [one for one in (*said, visible(ranked, board)) if one]


def answer(methods: Sequence[Standing], name: str) -> Answer | None:
    """How many methods measurably beat a reference, and which."""
    compared = [s for s in methods if name in s.against and s.against[name].adjusted is not None]
    if not compared:
        return None
    better = [s for s in compared if s.against[name].verdict == "better"]
    worse = [s for s in compared if s.against[name].verdict == "worse"]
    lost = f" {len(worse)} {'is' if len(worse) == 1 else 'are'} measurably worse." if worse else ""
    if not better:
        marks = [mark(s.against[name]) for s in compared]
        kind = next(kind for kind in ("open", "level", "worse") if kind in marks)
        return Answer(kind, f"None of {count(compared)} is measurably better than {SPOKEN[name]}.{lost}")
    better.sort(key=lambda s: -s.against[name].difference.mean)
    gains = [f"{s.row.title} ({s.against[name].difference.mean:+.2f})" for s in better[:MOST_NAMES]]
    others = "".join(f", {gain}" for gain in gains[1:])
    more = f" and {len(better) - MOST_NAMES} more" if len(better) > MOST_NAMES else ""
    verb = "is" if len(better) == 1 else "are"
    return Answer(
        "better",
        f"{len(better)} of {count(compared)} {verb} measurably better than {SPOKEN[name]}: {gains[0]}",
        f"{others}{more}.{lost}",
    )


def count(rows: Sequence[Standing]) -> str:
    return f"{len(rows)} method{'s' * (len(rows) != 1)}"


def reference(ranked: Sequence[Standing]) -> Answer | None:
    """How KD itself stands against the plain student."""
    kd = next((s for s in ranked if s.reference == KD and PLAIN in s.against), None)
    if kd is None or kd.against[PLAIN].adjusted is None:
        return None
    contrast = kd.against[PLAIN]
    told = {"better": "measurably better than", "worse": "measurably worse than"}.get(
        contrast.verdict, "not told apart from"
    )
    return Answer(
        mark(contrast), f"Plain KD itself is {told} the plain student ({contrast.difference.mean:+.2f} points)."
    )


def visible(ranked: Sequence[Standing], board: Board) -> Answer | None:
    """How large a difference must be to be seen on this board."""
    found = differences_of(board, ranked)
    sizes = []
    for name in (PLAIN, KD) if board.images_per_class is None else (RANDOM,):
        at = next((i for i, s in enumerate(ranked) if s.reference == name), None)
        least = detectable_from(found, at) if at is not None else None
        if least is not None:
            sizes.append(f"{least:.1f} points from {SPOKEN[name]}")
    if not sizes:
        return None
    return Answer(
        "open", "", f"To be seen as a rule (four times in five), a method must differ by {' and '.join(sizes)}."
    )
