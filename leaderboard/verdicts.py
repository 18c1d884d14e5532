"""Verdicts as a reader meets them: an icon with a word against one reference, a sentence for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kdbench.records.rows import KD, PLAIN, RANDOM
from kdbench.records.standings import MATTERS, Contrast
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, difference

WORDS = {  # by mark: the word beside the icon, and what it means
    "better": ("better", "measurably better, after correction over all rows"),
    "worse": ("worse", "measurably worse, after correction over all rows"),
    "level": ("not better", f"not told apart, and a gain of {MATTERS:.1f} points is ruled out, among all rows"),
    "open": ("undecided", f"not told apart, and a gain of {MATTERS:.1f} points is not ruled out, among all rows"),
    "none": ("one seed", "one seed tells nothing of its variation"),
}

ICONS = {"better": "▲", "worse": "▼", "level": "=", "open": "?", "none": "·"}


def mark(contrast: Contrast) -> str:
    """Which icon a contrast has: the key of `WORDS`."""
    if contrast.verdict == "not separable":
        return "open" if contrast.gain_is_open else "level"
    return "none" if contrast.verdict == "not compared" else contrast.verdict


def contrast_cell(contrast: Contrast | None, draw: bool = False, href: str | None = None) -> Cell:
    """A difference with its verdict; with `draw`, with its interval as a picture and in numbers."""
    if contrast is None:
        return Cell("–")
    cell = difference(contrast.difference, contrast.verdict, draw)
    text = cell.text if draw else f"{contrast.difference.mean:+.2f}"
    return replace(cell, text=text, mark=mark(contrast), href=href)


def interval_cell(contrast: Contrast | None) -> Cell:
    """A difference with its interval in numbers, and its verdict."""
    if contrast is None:
        return Cell("–")
    return replace(difference(contrast.difference, contrast.verdict), mark=mark(contrast))


def gain_cell(s: Standing, board: Board) -> Cell:
    """The gain over the plain student on all pairs; why there is none, for a row that is not ranked."""
    if s.gaps:
        return Cell("not ranked", tags=(("why", "; ".join(s.gaps[:6])),))
    return against_cell(s, board, PLAIN, draw=True)


def against_cell(s: Standing, board: Board, name: str, draw: bool = False) -> Cell:
    """A row against one reference on all pairs, leading to the page that compares the two."""
    if s.reference == name:
        return Cell("–", title="the reference itself")
    contrast = s.against.get(name)
    linked = board.main and contrast is not None
    return contrast_cell(contrast, draw, paths.compare(board, s.row.title, s.beside[name]) if linked else None)


def verdict_cell(s: Standing) -> Cell:
    """What the row measurably beats, or does not; a gap, for a row that is not ranked."""
    if s.gaps:
        return Cell("not ranked: " + "; ".join(s.gaps[:2]) + (f"; {len(s.gaps) - 2} more" if len(s.gaps) > 2 else ""))
    if s.reference == PLAIN:
        return Cell("the plain student")
    if not s.against:
        return Cell("no plain student or plain KD here to compare with")
    if all(contrast.adjusted is None for contrast in s.against.values()):
        return Cell(f"one seed: not comparable with {names(s.against)}")
    beaten, lost, undecided, level = (
        [name for name, contrast in s.against.items() if said(contrast) == kind]
        for kind in ("better than", "worse than", "undecided against", "not better than")
    )
    if beaten and not lost and not level and not undecided:
        complete = {PLAIN, KD} - {s.reference} <= set(beaten)
        return Cell(f"better than {'all references' if complete else names(beaten)}", style="better")
    parts = [
        ("better than", [name for name in beaten if name in (PLAIN, KD)]),
        ("worse than", lost),
        ("not better than", level),
        ("undecided against", undecided),
    ]
    text = "; ".join(f"{words} {names(found)}" for words, found in parts if found)
    open_ = ", ".join(map(spoken, undecided))
    return Cell(text, title=f"a gain of {MATTERS:.1f} points over {open_} is not ruled out" if open_ else "")


def said(contrast: Contrast) -> str:
    """The verdict of one contrast, in words that its power allows."""
    if contrast.verdict == "not separable":
        return "undecided against" if contrast.gain_is_open else "not better than"
    return f"{contrast.verdict} than"


def names(references: Iterable[str]) -> str:
    return ", ".join(map(spoken, references))


def spoken(reference: str) -> str:
    return {PLAIN: "the plain student", KD: "plain KD", RANDOM: "random images"}.get(reference, reference)
