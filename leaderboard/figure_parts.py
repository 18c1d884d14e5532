"""What all figures share: axes clipped to the methods, markers whose colour is the verdict, what is missing in words.

No figure relies on colour alone: schemes differ in marker, texts and tables say the verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kdbench.records.rows import PLAIN
from kdbench.records.standings import Contrast
from kdbench_leaderboard.boards import Pair
from kdbench_leaderboard.standings import Standing

Figure = dict[str, Any]
TONES = {
    "better": "#00784a",
    "worse": "#b34700",
    "level": "#6b7385",
    "far": "#9aa2b1",
}  # `figures.js` has the dark ones
SYMBOLS = {"baseline": "x", "offline": "circle", "online": "square", "self": "diamond"}
ROW_HEIGHT = 22
LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}
FAR = 3.0  # interquartile ranges beyond the quartiles at which a value no longer stretches an axis
Range = tuple[float, float]


def label(text: str) -> str:
    """Plotly reads a little HTML in its texts: names from records are shown as they are."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pair_name(pair: Pair) -> str:
    return label(f"{pair[0]} → {pair[1]}")


def base(height: int, note: str = "", **layout: Any) -> dict[str, Any]:
    """A layout.

    Args:
        note: what a reader must know beside the caption.
    """
    margin = {"l": 12, "r": 24, "t": 40 if "legend" in layout else 34, "b": 48}
    return (
        {"height": height, "margin": margin, "hovermode": "closest", "showlegend": False, "meta": {"note": note}}
        | ({"showlegend": True} if "legend" in layout else {})
        | layout
    )


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, "automargin": True, "zeroline": False, **more}


def accuracy_of(standings: Sequence[Standing]) -> str:
    """What an axis of the rows' accuracy is called."""
    has_tasks = any(cell.record.tasks for s in standings for cell in s.row.cells.values())
    return "average accuracy over tasks, %" if has_tasks else "top-1 accuracy, %"


def rows_height(count: int) -> int:
    return 110 + ROW_HEIGHT * max(count, 3)


def tone(contrast: Contrast | None) -> str:
    """The colour of a verdict in the light theme; the browser knows that of the dark one."""
    verdict = contrast.verdict if contrast else ""
    return TONES[verdict if verdict in ("better", "worse") else "level"]


def symbol(s: Standing) -> str:
    """The marker of a scheme; yours are hollow."""
    found = SYMBOLS[s.row.info.scheme]
    return found if s.row.origin == "accepted" else f"{found}-open"


def marks(standings: Sequence[Standing], contrasts: Sequence[Contrast | None]) -> dict[str, Any]:
    """Symbols by scheme, colours by verdict against the plain student."""
    return {"color": [tone(c) for c in contrasts], "symbol": [symbol(s) for s in standings], "size": 10}


def overall(standings: Sequence[Standing]) -> list[Contrast | None]:
    """Each row against the plain student, over all pairs."""
    return [s.against.get(PLAIN) for s in standings]


def usual_range(values: Iterable[float]) -> Range:
    """The range of values that are not far out: what an axis shows."""
    known = np.array(sorted(values))
    low, high = np.percentile(known, [25, 75])
    reach = FAR * max(float(high - low), 1e-6)
    kept = known[(known >= low - reach) & (known <= high + reach)]
    return float(kept.min()), float(kept.max())


def padded(low: float, high: float, part: float = 0.06) -> Range:
    pad = part * (high - low) or 0.5
    return low - pad, high + pad


def left_out(names: Sequence[str], why: str, most: int = 12) -> str:
    """A sentence on what a figure lacks."""
    if not names:
        return ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"Not shown: {', '.join(names[:most])}{more} ({why})."


def at_the_edge(count: int) -> str:
    return f"{count} far off {'is' if count == 1 else 'are'} marked at the edge." if count else ""


def sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)
