"""The map of the field: every measured method by scheme, knowledge and family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kdbench.records.parts import MethodInfo
from kdbench_leaderboard import paths
from kdbench_leaderboard.learn.drawing import Drawing
from kdbench_leaderboard.learn.words import spoken

SCHEMES = ("offline", "online", "self")
KNOWLEDGE = ("response", "feature", "relation", "several")
SIGNS = {  # families apart by form, so that colour says nothing
    "": "●", "multi_teacher": "▲", "capacity_gap": "◆", "adversarial": "✚", "data_free": "■", "quantized": "▼",
}  # fmt: skip
OTHER = "★"
ACROSS, STEP, ROW = 8, 19.0, 21.0
COLUMN, HEAD = 166.0, 74.0


def column_of(info: MethodInfo) -> str:
    return info.knowledge[0] if len(info.knowledge) == 1 else "several"


def sign_of(info: MethodInfo) -> str:
    """The form of a method's first family."""
    return SIGNS.get(info.families[0] if info.families else "", OTHER)


def places_of(infos: Mapping[str, MethodInfo]) -> dict[tuple[str, str], list[MethodInfo]]:
    """By scheme and knowledge, the methods there; baselines and what transfers no knowledge stand nowhere."""
    found: dict[tuple[str, str], list[MethodInfo]] = {}
    for info in infos.values():
        if info.scheme in SCHEMES and info.knowledge:
            found.setdefault((info.scheme, column_of(info)), []).append(info)
    return {place: sorted(there, key=lambda i: (i.families[:1], i.name)) for place, there in found.items()}


def field_map(infos: Mapping[str, MethodInfo], language: str) -> dict[str, Any]:
    """The figure, and the same as a table with names that lead to methods' pages."""
    say, found = spoken(language), places_of(infos)
    used = [(sign, say(name or "no further family").replace("_", "-")) for name, sign in SIGNS.items()]
    used += [(OTHER, "…")] * any(sign_of(i) == OTHER for there in found.values() for i in there)
    table = [
        (
            scheme,
            say(scheme),
            [
                [{"name": i.name, "sign": sign_of(i), "page": paths.method(i.name)} for i in found.get((scheme, k), [])]
                for k in KNOWLEDGE
            ],
        )
        for scheme in SCHEMES
    ]
    return {
        "figure": figure(found, language),
        "legend": used,
        "columns": [say(k) for k in KNOWLEDGE],
        "table": table,
        "count": sum(map(len, found.values())),
    }


def figure(found: Mapping[tuple[str, str], list[MethodInfo]], language: str) -> Markup:
    """A sign a method, in a field a scheme and a kind of knowledge."""
    say = spoken(language)
    most = [max([1, *(-(-len(found.get((s, k), ())) // ACROSS) for k in KNOWLEDGE)]) for s in SCHEMES]
    heights = [ROW * rows + 40 for rows in most]
    counts = ", ".join(
        f"{say(s)} × {say(k)}: {len(found[s, k])}" for s in SCHEMES for k in KNOWLEDGE if (s, k) in found
    )
    label = f"{say('Methods by scheme, knowledge and family')}. {counts}"
    drawing = Drawing(HEAD + COLUMN * len(KNOWLEDGE) + 8, 34 + sum(heights), label)
    for n, kind in enumerate(KNOWLEDGE):
        drawing.text(HEAD + COLUMN * (n + 0.5), 20, say(kind), "middle name")
    y = 30.0
    for scheme, height in zip(SCHEMES, heights, strict=True):
        drawing.text(4, y + height / 2, say(scheme), "name")
        for n, kind in enumerate(KNOWLEDGE):
            x, there = HEAD + COLUMN * n, found.get((scheme, kind), [])
            drawing.box(x + 2, y + 2, COLUMN - 6, height - 6, "field")
            drawing.text(x + COLUMN - 12, y + height - 12, str(len(there)), "tick end")
            for i, info in enumerate(there):
                at = x + 16 + STEP * (i % ACROSS), y + 24 + ROW * (i // ACROSS)
                drawing.dot(*at, sign_of(info), info.name)
        y += height
    return drawing.markup()
