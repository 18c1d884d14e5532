"""Where the weights of teachers come from that were not trained by the suite's recipe: a mark on rows and pairs."""

from __future__ import annotations

from collections.abc import Iterable

from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.read import Found

HUB = "hf-hub:"


def kind(origin: str) -> str:
    """What records say of a teacher's weights, in two or three words."""
    if origin.startswith("student of "):
        return "distilled teacher"
    if "RepDistiller" in origin or "mdistiller" in origin:
        return "authors' teacher"
    return "own teacher"


def origin_tags(cells: Iterable[Found]) -> tuple[tuple[str, str], ...]:
    """A flag a kind of origin that a row's teachers have, with the teachers' names and origins."""
    origins = {(t.origin, t.model) for cell in cells for t in cell.record.teachers if t.origin}
    kinds: dict[str, list[str]] = {}
    for origin, model in sorted(origins):
        kinds.setdefault(kind(origin), []).append(f"{model}: {origin}")
    return tuple((name, "; ".join(said)) for name, said in kinds.items())


def teacher_origin(board: Board, name: str) -> str:
    """Where a board's teacher comes from, in words; empty for one of the suite's recipe."""
    teacher = board.teacher(name)
    if teacher is None:
        said = {t.origin for cell in board.found for t in cell.record.teachers if t.model == name and t.origin}
        return ", ".join(sorted(said))
    network = teacher.record.main
    if network.origin:
        return network.origin
    if network.timm_name.startswith(HUB):
        return f"of the hub, {network.timm_name.removeprefix(HUB)}"
    return "timm's own weights" if teacher.record.protocol.get("teachers") == "pretrained" else ""
