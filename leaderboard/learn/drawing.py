"""What the pictures of the learning pages are made of: SVG whose colours are the theme's, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

DASHES = ("", "6 4", "2 3")
WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 26, 48


@dataclass
class Drawing:
    """A picture of a size, with the words that stand for it where it is not seen."""

    width: float
    height: float
    label: str
    parts: list[Markup] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, kind: str = "") -> None:
        self.parts.append(
            Markup('<rect x="%s" y="%s" width="%s" height="%s" rx="5" class="box %s"/>')
            % (*map(places, (x, y, width, height)), kind)
        )

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        self.parts.append(Markup('<text x="%s" y="%s" class="%s">%s</text>') % (places(x), places(y), kind, text))

    def line(self, points: Sequence[tuple[float, float]], kind: str = "", dash: str = "") -> None:
        path = "M" + "L".join(f"{places(x)} {places(y)}" for x, y in points)
        dashed = Markup(' stroke-dasharray="%s"') % dash if dash else Markup("")
        self.parts.append(Markup('<path d="%s" class="line %s"%s/>') % (path, kind, dashed))

    def arrow(self, points: Sequence[tuple[float, float]], kind: str = "") -> None:
        """A line that ends in a head."""
        (x0, y0), (x1, y1) = points[-2:]
        angle = math.atan2(y1 - y0, x1 - x0)
        self.line(points, kind)
        wings = [(x1 - 8 * math.cos(angle + turn), y1 - 8 * math.sin(angle + turn)) for turn in (0.45, -0.45)]
        path = "M" + "L".join(f"{places(x)} {places(y)}" for x, y in [(x1, y1), *wings]) + "Z"
        self.parts.append(Markup('<path d="%s" class="head %s"/>') % (path, kind))

    def dot(self, x: float, y: float, sign: str, title: str) -> None:
        """A sign that says what it is when it is pointed at."""
        self.parts.append(
            Markup('<text x="%s" y="%s" class="sign middle">%s<title>%s</title></text>')
            % (places(x), places(y), sign, title)
        )

    def markup(self) -> Markup:
        return Markup('<svg viewBox="0 0 %s %s" class="picture drawn" role="img" aria-label="%s">%s</svg>') % (
            places(self.width),
            places(self.height),
            self.label,
            Markup("").join(self.parts),
        )


@dataclass(frozen=True)
class Curve:
    """Points joined by a line; `kind` tells it from others without a colour."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: int


def log_plot(curves: Sequence[Curve], x_title: str, y_title: str, label: str) -> Markup:
    """Curves over logarithmic axes."""
    drawing = Drawing(WIDTH, HEIGHT, label)
    xs = [math.log10(x) for curve in curves for x in curve.x]
    ys = [math.log10(y) for curve in curves for y in curve.y if y > 0]
    low_x, high_x, low_y, high_y = min(xs), max(xs), math.floor(min(ys)), math.ceil(max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT),
            TOP + (high_y - y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM),
        )

    for power in range(math.ceil(low_x), math.floor(high_x) + 1):
        x, _ = at(power, low_y)
        drawing.line([(x, TOP), (x, HEIGHT - BOTTOM)], "grid")
        drawing.text(x, HEIGHT - BOTTOM + 18, f"{10.0**power:g}", "tick middle")
    for power in range(low_y, high_y + 1):
        _, y = at(low_x, power)
        drawing.line([(LEFT, y), (WIDTH - RIGHT, y)], "grid")
        drawing.text(LEFT - 8, y + 4, f"{10.0**power:g}", "tick end")
    drawing.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_title, "middle")
    drawing.text(LEFT, 14, y_title, "tick")
    for n, curve in enumerate(curves):
        points = [at(math.log10(x), math.log10(y)) for x, y in zip(curve.x, curve.y, strict=True) if y > 0]
        drawing.line(points, "curve", DASHES[curve.kind % len(DASHES)])
        y = TOP + 18 + 20 * n
        drawing.line([(WIDTH - 200, y - 4), (WIDTH - 168, y - 4)], "curve", DASHES[curve.kind % len(DASHES)])
        drawing.text(WIDTH - 160, y, curve.name)
    return drawing.markup()


def places(value: float) -> str:
    """A coordinate, no longer than it has to be."""
    return f"{value:.1f}".rstrip("0").rstrip(".")
