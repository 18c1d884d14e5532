"""What a teacher knows: soft targets of real digits, of the textbook's cat, and which classes are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.records.softening import confusion, entropy, soften
from kdbench_leaderboard.learn.taught import PARTS, Classes, Taught
from kdbench_leaderboard.learn.words import spoken
from kdbench_leaderboard.tables import Cell, Column, Line, Table, number

SHOWN = (1.0, 4.0, 20.0)  # temperatures of what needs no script
AT = 4.0  # of the map of confusion, and of most of the literature
EXAMPLE = {"cat": 6.0, "dog": 4.0, "car": -2.0}  # logits of a picture of a cat; invented
LIMITS = (0.05, 1.0, 4.0, 1000.0)
TEXTBOOK = (2, (3, 7))  # "a 2 looks like a 3 or a 7" (Hinton et al. 2015)
REAL = ("wolf", "fox", "pickup truck")  # classes that stand as cat, dog and car do
LEVELS = 16  # grey values of a digit


@dataclass(frozen=True)
class Bar:
    """One class of one image: its soft target, its hard target, and the share of the longest bar."""

    name: str
    soft: float
    hard: int
    logit: float


def bars(logits: np.ndarray, label: int, temperature: float, names: list[str]) -> list[Bar]:
    """The targets of one image with (C,) logits."""
    soft = soften(logits, temperature)
    return [Bar(name, float(soft[c]), int(c == label), float(logits[c])) for c, name in enumerate(names)]


def digit_names(taught: Taught) -> list[str]:
    return [str(c) for c in range(taught.teachers[taught.first].shape[1])]


def telling(taught: Taught, each: int = 3) -> list[int]:
    """Images to choose from, of each class those of the highest entropy at T = 4 that the teacher gets right."""
    logits = taught.teachers[taught.first]
    unsure = entropy(soften(logits, AT))
    right = logits.argmax(axis=1) == taught.labels
    found = []
    for c in range(logits.shape[1]):
        mine = np.flatnonzero(right & (taught.labels == c))
        ordered = mine[np.argsort(-unsure[mine], kind="stable")]
        found += [int(i) for i in ordered[np.linspace(0, len(ordered) - 1, each).round().astype(int)]]
    return found


def static_example(taught: Taught) -> dict[str, Any]:
    """One telling image at the temperatures that are shown without a script."""
    logits = taught.teachers[taught.first]
    chosen = max(telling(taught), key=lambda i: float(entropy(soften(logits[i], AT))))
    return {"image": chosen, "label": int(taught.labels[chosen]), "at": at_temperatures(taught, chosen)}


def at_temperatures(taught: Taught, image: int) -> list[dict[str, Any]]:
    logits, names = taught.teachers[taught.first][image], digit_names(taught)
    return [
        {
            "t": t,
            "bars": bars(logits, int(taught.labels[image]), t, names),
            "entropy": float(entropy(soften(logits, t))),
        }
        for t in SHOWN
    ]


def example() -> dict[str, Any]:
    """The cat, the dog and the car: probabilities at each temperature, and ratios that the label does not have."""
    logits = np.array(list(EXAMPLE.values()))
    rows = [{"t": t, "p": soften(logits, t).tolist(), "entropy": float(entropy(soften(logits, t)))} for t in LIMITS]
    at_one = soften(logits, 1.0)
    return {"names": list(EXAMPLE), "logits": logits.tolist(), "rows": rows, "ratio": float(at_one[1] / at_one[2])}


def alike(taught: Taught, teacher: str) -> dict[str, Any]:
    """The mean soft target of each class at T = 4, and what the textbook's two is taken for here."""
    table = confusion(taught.teachers[teacher], taught.labels, AT)
    others = table.copy()
    np.fill_diagonal(others, 0.0)
    true, said = TEXTBOOK
    first = np.argsort(-others[true], kind="stable")
    i, j = np.unravel_index(int(others.argmax()), others.shape)
    return {
        "table": table.tolist(),
        "most": float(others.max()),
        "pair": (int(i), int(j), float(others[i, j])),
        "true": true,
        "said": [(c, float(others[true, c])) for c in said],
        "holds": set(first[: len(said)].tolist()) == set(said),
        "found": [(int(c), float(others[true, c])) for c in first[:2]],
        "even": float(others[true].sum() / (len(table) - 1)),
    }


def digits_script(taught: Taught) -> dict[str, Any]:
    """For the page's script: images as letters, a letter a pixel; logits in thousandths."""
    levels = np.rint(taught.images / 255 * LEVELS).astype(int).reshape(len(taught.images), -1)
    return {
        "size": list(taught.images.shape[1:]),
        "levels": LEVELS,
        "parts": PARTS,
        "images": ["".join(chr(97 + v) for v in row) for row in levels],
        "labels": "".join(map(str, taught.labels)),
        "teachers": {name: np.rint(PARTS * z).astype(int).tolist() for name, z in taught.teachers.items()},
    }


def real_example(known: Classes) -> dict[str, Any]:
    """The cat, the dog and the car with classes that a teacher knows, in percent."""
    true, near, far = (known.names.index(name) for name in REAL)
    return {"names": REAL, "p": [100 * float(known.table[true, c]) for c in (near, far)]}


def alike_table(known: Classes, language: str, first: int = 3) -> Table:
    """Each class with those that it is taken for most, the most alike first."""
    say, lines = spoken(language), []
    others = known.table.copy()
    np.fill_diagonal(others, 0.0)
    for c in np.argsort(-others.max(axis=1), kind="stable"):
        order = np.argsort(-others[c], kind="stable")[:first]
        cells = {
            "class": Cell(known.names[c]),
            "most": number(100 * float(others[c, order[0]]), 1),
            "first": Cell(known.names[order[0]]),
            "next": Cell(", ".join(f"{known.names[o]} ({100 * others[c, o]:.1f})" for o in order[1:])),
            "own": number(100 * float(known.table[c, c]), 1),
        }
        lines.append(Line(cells))
    columns = [
        Column("class", say("class")),
        Column("first", say("most like")),
        Column("most", say("in %"), "number"),
        Column("next", say("then, in %")),
        Column("own", say("itself, in %"), "number"),
    ]
    return Table("alike-classes", say("Which classes are alike"), columns, lines)
