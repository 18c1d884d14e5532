"""A method's picture: what of which network its loss meets, drawn from its metadata alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from markupsafe import Markup

from kdbench_leaderboard.learn.drawing import Drawing
from kdbench_leaderboard.learn.words import Say, spoken

OUTPUTS = {  # in the order in which an image meets them: their words, x, and width
    "stem": ("stem", 150, 60),
    "features": ("feature maps", 222, 120),
    "pre_activations": ("before ReLU", 354, 104),
    "attention": ("attention", 354, 104),
    "class_maps": ("class maps", 354, 104),  # in the place of maps before ReLU: none reads both
    "embedding": ("embedding", 470, 92),
    "logits": ("logits", 574, 72),
    "head_logits": ("heads", 574, 72),  # in the place of the logits, whose mean they are
}
WIDTH, HEIGHT = 760.0, 286.0
TEACHER, LOSS, STUDENT = 40.0, 124.0, 208.0  # where each row begins
BOX = 34.0
UPPER = {
    "offline": "teacher: trained before, fixed",
    "online": "peers: trained beside the student, like it",
    "self": "the student's own: earlier, deeper, or of another view",
    "baseline": "teacher: a control",
}


class Declared(Protocol):
    """What a picture is drawn from: a part of a method's metadata on its records."""

    @property
    def name(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def families(self) -> Sequence[str]: ...
    @property
    def requires(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Example:
    """The same of a method that no record is needed of."""

    name: str
    scheme: str
    requires: tuple[str, ...]
    families: tuple[str, ...] = ()


def kd_picture(language: str) -> Markup:
    """Plain KD, whether it is measured or not."""
    return method_picture(Example("kd", "offline", ("student.logits", "teacher.logits")), {}, language)


def method_picture(info: Declared, params: Mapping[str, Any], language: str = "en") -> Markup:
    """The picture, with a sentence that says the same.

    Args:
        params: the method's parameters on a record, which say whether the labels weigh anything.
    """
    say = spoken(language)
    upper, lower = read_above(info), read(info, "student")
    labels = "data_free" not in info.families and params.get("ce_weight") != 0
    drawing = Drawing(WIDTH, HEIGHT, say(sentence(info, upper, lower, labels)))
    rows = [(STUDENT, "student: learns", lower, "student.network" in info.requires)]
    if upper is not None:
        rows.insert(0, (TEACHER, title_above(info), upper, "teacher.network" in info.requires))
    drawing.box(150, LOSS, 496, BOX, "loss")
    drawing.text(398, LOSS + 22, say("loss"), "middle name")
    draw_source(drawing, info, upper is not None, say)
    for top, title, used, whole in rows:
        draw_network(drawing, top, title, used, whole, several(info) and top == TEACHER, say)
    if labels:
        drawing.box(676, LOSS, 76, BOX, "source")
        drawing.text(714, LOSS + 22, say("labels"), "middle")
        drawing.arrow([(676, LOSS + BOX / 2), (646, LOSS + BOX / 2)])
    return drawing.markup()


def read(info: Declared, network: str) -> list[str]:
    """Which outputs of a network the loss reads, in their order."""
    return [name for name in OUTPUTS if f"{network}.{name}" in info.requires]


def read_above(info: Declared) -> list[str] | None:
    """The same of what teaches: a teacher, or peers and past selves, which give what the student gives; or nothing."""
    if any(output.startswith("teacher") for output in info.requires):
        return read(info, "teacher")
    return read(info, "student") if info.scheme in ("online", "self") else None


def several(info: Declared) -> bool:
    return bool({"team", "assistants"} & set(info.requires)) or info.scheme == "online"


def title_above(info: Declared) -> str:
    if "team" in info.requires:
        return "several teachers: trained before, fixed"
    if "assistants" in info.requires:
        return "teacher, then assistants from large to small"
    return UPPER[info.scheme]


def source(info: Declared) -> list[str]:
    """What images both networks see, in lines."""
    if "data_free" in info.families:
        return ["images made", "from the teacher"]
    has_more = {"images", "strong_images"} & set(info.requires)
    return ["training images", "and more views"] if has_more else ["training images"]


def draw_source(drawing: Drawing, info: Declared, two: bool, say: Say) -> None:
    """The images, with an arrow to each network."""
    lines = source(info)
    height = 16.0 + 18 * len(lines)
    top, middle = LOSS + (BOX - height) / 2, 66
    drawing.box(4, top, 124, height, "source")
    for n, line in enumerate(lines):
        drawing.text(middle, top + 21 + 18 * n, say(line), "middle small")
    drawing.arrow([(middle, top + height), (middle, STUDENT + BOX / 2), (146, STUDENT + BOX / 2)])
    if two:
        drawing.arrow([(middle, top), (middle, TEACHER + BOX / 2), (146, TEACHER + BOX / 2)])


def draw_network(drawing: Drawing, top: float, title: str, used: list[str], whole: bool, many: bool, say: Say) -> None:
    """One row: outputs in their order; those that are read are marked and joined with the loss."""
    above = top == TEACHER
    last = "head_logits" if "head_logits" in used else "logits"
    shown = [name for name in OUTPUTS if name in used or name in ("features", "embedding", last)]
    drawing.text(150, top - 14 if above else top + BOX + 28, say(title), "name")
    if whole:
        drawing.box(144, top - 6, 508, BOX + 12, "whole")
        drawing.text(646, top - 14 if above else top + BOX + 28, "the whole network is used", "end small")
    if many:
        drawing.box(152, top - 5, 498, BOX, "behind")
    drawing.line([(146, top + BOX / 2), (574, top + BOX / 2)], "through")
    for name in shown:
        words, x, width = OUTPUTS[name]
        drawing.box(x, top, width, BOX, "used" if name in used else "idle")
        drawing.text(x + width / 2, top + 22, say(words), "middle" if name in used else "middle tick")
        if name in used:
            middle = x + width / 2
            drawing.arrow([(middle, top + BOX), (middle, LOSS)] if above else [(middle, top), (middle, LOSS + BOX)])


def sentence(info: Declared, upper: list[str] | None, lower: list[str], labels: bool) -> str:
    """The picture in words."""
    parts = [f"{' '.join(source(info))} go through the student".capitalize()]
    if upper is not None:
        parts[0] += f" and what teaches it ({title_above(info)})"
        parts.append(f"of what teaches, the loss reads {listed(upper) or 'no output by itself'}")
    parts.append(f"of the student, the loss reads {listed(lower) or 'what the method computes with it'}")
    whole = [role for role in ("teacher", "student") if f"{role}.network" in info.requires]
    if whole:
        parts.append(f"the whole {' and the whole '.join(whole)} is used as well")
    parts.append("the labels are used" if labels else "no labels are used")
    return f"{info.name}: " + "; ".join(parts) + "."


def listed(names: list[str]) -> str:
    return ", ".join(OUTPUTS[name][0] for name in names)
