"""What a board can tell, in sentences: what it detects, what moderates its variances, pairs that tell nothing."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.records.limits import covered, limit
from kdbench.records.moderation import moderation
from kdbench.records.power import detectable_from, seeds_said
from kdbench.records.rows import PLAIN, REFERENCES
from kdbench_leaderboard.boards import Board, Pair, teachers_each
from kdbench_leaderboard.standings import Standing, differences_of


def board_notes(board: Board, rows: Sequence[Standing]) -> list[str]:
    """What a reader must know of a board's verdicts; nothing of a board without a ranked row."""
    ranked = [s for s in rows if not s.gaps and s.budget is None]
    if not ranked:
        return []
    found = differences_of(board, ranked)
    plain = next((i for i, s in enumerate(ranked) if s.reference == PLAIN), None)
    least = detectable_from(found, plain) if plain is not None else None
    said = []
    if plain is not None and least is not None:
        own, others = ranked[plain].seeds, method_seeds(board, ranked)
        beside = f" and {own} of the plain student" if others != seeds_said([own]) else ""
        said.append(
            f"{others}{beside} tell a method from the plain student from {least:.1f} points on: so "
            f"large a gain is found with 80 % power among {len(ranked)} rows."
        )
    elif least is None and len(board.seeds) < 2:
        said.append("One seed tells no methods apart.")
    taught = board.images_per_class is None and not board.has_tasks
    intervals = f"Intervals are of seeds and test images. {covered(teachers_each(board.protocol), max(found.seeds))}"
    return [*said, moderation(found.prior), *([intervals] if taught else [])]


def method_seeds(board: Board, rows: Sequence[Standing]) -> str:
    """How many seeds ranked rows have, the references left out where there are others: "5 to 10 seeds"."""
    ranked = [s for s in rows if not s.gaps]
    others = [s.seeds for s in ranked if s.row.name not in REFERENCES] or [s.seeds for s in ranked]
    return seeds_said(others or [len(board.seeds)])


def pair_limits(board: Board, rows: Sequence[Standing]) -> dict[Pair, str]:
    """Pairs on which gains say little, each with the reason."""
    plain = next((s for s in rows if s.reference == PLAIN), None)
    found = {}
    for pair in board.pairs if plain and board.images_per_class is None else ():
        accuracy = plain.pairs[pair].accuracy if plain else None
        if accuracy and (why := limit(board.teacher_top1(pair[0]), accuracy[0], board.num_classes, board.images)):
            found[pair] = f"{pair[0]} → {pair[1]}: {why}."
    return found
