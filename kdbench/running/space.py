"""What a search may choose from: the values of one parameter, and the grid over several. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal, get_args

Scale = Literal["linear", "log", "int"]
SCALES: tuple[str, ...] = get_args(Scale)
DIGITS = 4  # that count, of a number that is chosen: enough to tell trials apart, and short enough to copy


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both among them."""

    scale: Scale
    low: float
    high: float

    @property
    def size(self) -> int | None:
        """How many values there are; None for a continuum."""
        return int(self.high - self.low) + 1 if self.scale == "int" else None

    def points(self, count: int) -> list[Any]:
        """All whole numbers; of a continuum `count` evenly spaced ones, its ends among them."""
        if self.size is not None:
            return list(range(int(self.low), int(self.high) + 1))
        parts = [i / (count - 1) for i in range(count)]
        if self.scale == "log":
            return [self.rounded(self.low * (self.high / self.low) ** part) for part in parts]
        return [self.rounded(self.low + (self.high - self.low) * part) for part in parts]

    def rounded(self, value: float) -> Any:
        """A value with as many digits as a person would copy."""
        return int(value) if self.scale == "int" else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def has(self, value: Any) -> bool:
        """Whether a value lies in it."""
        if isinstance(value, bool) or not isinstance(value, int if self.scale == "int" else int | float):
            return False
        return self.low <= float(value) <= self.high

    def __str__(self) -> str:
        return f"{self.scale}:{self.low}..{self.high}"


@dataclass(frozen=True)
class Choices:
    """Single values: numbers, words, true or false."""

    values: tuple[Any, ...]

    @property
    def size(self) -> int:
        """How many values there are."""
        return len(self.values)

    def points(self, count: int) -> list[Any]:
        """All values, whatever `count` is."""
        return list(self.values)

    def rounded(self, value: Any) -> Any:
        """The value as it is."""
        return value

    def has(self, value: Any) -> bool:
        """Whether it is one of them."""
        return any(value is one or (type(value) is type(one) and value == one) for one in self.values)

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Space = Mapping[str, Range | Choices]  # by parameter


def is_finite(space: Space) -> bool:
    """Whether all its points can be tried."""
    return all(values.size is not None for values in space.values())


def grid_size(space: Space, trials: int) -> tuple[int, int]:
    """How many points the largest grid within `trials` has, and how many of each continuum.

    Two of each is the least, even where that is more than `trials`.
    """
    listed = prod(values.size or 1 for values in space.values())
    continua = sum(values.size is None for values in space.values())
    count = 2
    while continua and listed * (count + 1) ** continua <= trials:
        count += 1
    return listed * count**continua, count


def grid(space: Space, trials: int) -> list[dict[str, Any]]:
    """The points of the largest grid within `trials`: all single values, and evenly spaced ones of each continuum."""
    count = grid_size(space, trials)[1]
    return [
        dict(zip(space, point, strict=True)) for point in product(*(values.points(count) for values in space.values()))
    ]
