"""The parsing of `--space`, and its check against the parameters of the methods. Torch only for the latter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from kdbench.commands.request import parse_value
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.plugins import load_method
from kdbench.running.space import SCALES, Choices, Range, Scale, grid_size, is_finite

if TYPE_CHECKING:
    from kdbench.method import Method

LARGEST = 2**53  # up to which whole numbers are exact as floating-point numbers too
EXAMPLE = "such as --space kd_weight=log:0.1..10"


@dataclass(frozen=True)
class Given:
    """One `--space`.

    Attributes:
        text: as it was given.
        method: None for all that have the parameter.
    """

    text: str
    method: str | None
    name: str
    values: Range | Choices

    @property
    def target(self) -> str:
        return f"{self.method}.{self.name}" if self.method else self.name


def parse_spaces(texts: Sequence[str], methods: Sequence[str]) -> list[Given]:
    """All that is said of spaces.

    Raises:
        KdbenchError: not of the form [method.]param=values, a method that is not tuned, a parameter given twice.
    """
    if not texts:
        raise KdbenchError(f"There is nothing to choose from. Name a parameter and its values, {EXAMPLE}.")
    found: dict[str, Given] = {}
    for text in texts:
        one = parse_space(text, methods)
        if one.target in found:
            raise KdbenchError(f"--space {text}: '{one.target}' is given twice. Write all its values into one.")
        found[one.target] = one
    return list(found.values())


def parse_space(text: str, methods: Sequence[str]) -> Given:
    target, equals, values = text.partition("=")
    method, dot, name = target.strip().rpartition(".")
    if not equals or not name or (dot and not method):
        raise KdbenchError(f"--space {text}: write param=values or method.param=values, {EXAMPLE}.")
    if dot and method not in methods:
        raise KdbenchError(
            f"--space {text}: '{method}' is not among the methods to tune.{did_you_mean(method, methods)}"
        )
    try:
        return Given(text, method or None, name, parse_values(values.strip()))
    except ValueError as error:
        raise KdbenchError(f"--space {text}: {error}") from error


def parse_values(text: str) -> Range | Choices:
    """`log:0.1..10`, `linear:0..1` or `0..1`, `int:1..8`, or single values with commas between them.

    Raises:
        ValueError: none of these, or without any value.
    """
    kind, colon, ends = text.partition(":")
    kind = kind.strip()
    if ".." in text:
        return parse_range(kind if colon else "linear", ends if colon else text)
    if colon and kind in SCALES:
        raise ValueError(f"write its two ends, {kind}:1..8.")
    values = parse_value(f"[{text}]")
    if not isinstance(values, list):
        values = [parse_value(word) for word in text.split(",")]
    if not values or "" in values:
        raise ValueError("there is nothing between two commas." if text else "the space is empty. Give values.")
    if not all(isinstance(value, bool | int | float | str) for value in values):
        raise ValueError("single values are numbers, words, true or false.")
    return Choices(tuple({repr(value): value for value in values}.values()))


def parse_range(scale: str, text: str) -> Range:
    """The numbers between two ends.

    Raises:
        ValueError: an unknown scale, ends that are no numbers, or nothing between them.
    """
    if scale not in SCALES:
        raise ValueError(f"there is no scale '{scale}'.{did_you_mean(scale, SCALES)}")
    try:
        low, high = (int(end) if scale == "int" else float(end) for end in text.split("..", 1))
    except ValueError:
        whole = "whole numbers" if scale == "int" else "numbers"
        raise ValueError(f"'{text}' are not two {whole} with '..' between them.") from None
    if not isfinite(low) or not isfinite(high) or (scale == "int" and max(-low, high) > LARGEST):
        raise ValueError("both ends are finite numbers, whole ones of at most 2 ** 53.")
    if low >= high:
        raise ValueError("the space is empty: the lower end comes first, the higher one second.")
    if scale == "log" and low <= 0:
        raise ValueError("a logarithmic scale begins above 0.")
    return Range(cast(Scale, scale), low, high)


def spaces_of(given: Sequence[Given], methods: Sequence[str]) -> dict[str, dict[str, Range | Choices]]:
    """The space of each method; what is said of one method goes before what is said of all.

    Raises:
        KdbenchError: a parameter that none of them has, values that it cannot have, a method without a space.
    """
    classes = {name: load_method(name) for name in methods}
    found: dict[str, dict[str, Range | Choices]] = {name: {} for name in methods}
    for one in sorted(given, key=lambda one: one.method is not None):
        asked = [one.method] if one.method else list(methods)
        owners = [name for name in asked if one.name in classes[name].Params.model_fields]
        if not owners:
            known = {field for name in asked for field in classes[name].Params.model_fields}
            who = " and ".join(asked)
            raise KdbenchError(
                f"--space {one.text}: {who} has no parameter '{one.name}'.{did_you_mean(one.name, known)}"
            )
        for name in owners:
            check_values(classes[name], one)
            found[name][one.name] = one.values
    for name, space in found.items():
        if not space:
            if not (fields := classes[name].Params.model_fields):
                raise KdbenchError(f"{name} has no parameters, so there is nothing to choose. Leave it out.")
            hint = did_you_mean("", fields)
            raise KdbenchError(f"There is nothing to choose from for {name}. Add --space {name}.PARAM=VALUES.{hint}")
    return found


def check_values(method: type[Method], one: Given) -> None:
    """A parameter can have the values that it may be given: the ends of a range, and one between them.

    Raises:
        KdbenchError: it cannot.
    """
    from kdbench.running.plan import validate_params

    values: list[Any]
    if isinstance(one.values, Choices):
        values = list(one.values.values)
    else:
        if one.values.scale != "int" and method.Params.model_fields[one.name].annotation is int:
            low, high = (round(end) for end in (one.values.low, one.values.high))
            raise KdbenchError(
                f"--space {one.text}: '{one.name}' is a whole number. Write {one.name}=int:{low}..{high}."
            )
        middle = [] if one.values.scale == "int" else one.values.points(3)
        values = [one.values.low, *middle, one.values.high]
    for value in values:
        validate_params(method, {one.name: value}, f"--space {one.text}, method '{method.name}'")


def check_grid(method: str, space: dict[str, Range | Choices], trials: int) -> None:
    """A grid's points are no more than the trials.

    Raises:
        KdbenchError: they are.
    """
    size, _ = grid_size(space, trials)
    if size > trials:
        ends = "" if is_finite(space) else "at least "
        raise KdbenchError(
            f"--sampler grid: the grid of {method} has {ends}{size} points, more than --trials {trials}. Raise it to "
            f"{size}, or give fewer values (--space)."
        )
