"""What a number or a text of a record may be. Who reads records adds, draws and prints them, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field

LARGEST = 1e60  # of any number: float32 ends at 3.4e38
DEEPEST = 12  # tables within tables
EARLIEST = date(2024, 1, 1)  # before there was a record

Count = Annotated[int, Field(ge=0, le=10**15)]  # of parameters, steps, images, bytes
Operations = Annotated[int, Field(ge=0, le=10**24)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]  # three hundred years
Version = Annotated[int, Field(ge=1, le=10**6)]
Year = Annotated[int, Field(ge=1900, le=2200)]
Seed = Annotated[int, Field(ge=0, le=10**6)]
Text = Annotated[str, Field(max_length=20_000)]
Line = Annotated[str, Field(max_length=10_000)]


def bounded(value: dict[str, Any]) -> dict[str, Any]:
    """A table whose numbers can be added and printed.

    Raises:
        ValueError: a number is too large, or tables lie too deep within each other.
    """
    for place, found in leaves(value):
        if isinstance(found, (int, float)) and not -LARGEST <= found <= LARGEST:
            raise ValueError(f"{'.'.join(place)} is larger than any number here may be")
        if len(place) > DEEPEST:
            raise ValueError(f"{'.'.join(place[:3])} is nested too deep")
    return value


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that is no table or list, each with the keys that lead to it; keys themselves are leaves beside them."""
    if len(place) <= DEEPEST and isinstance(value, dict):
        for key, inner in value.items():
            yield place, key
            yield from leaves(inner, (*place, str(key)))
    elif len(place) <= DEEPEST and isinstance(value, (list, tuple)):
        for n, inner in enumerate(value):
            yield from leaves(inner, (*place, str(n)))
    else:
        yield place, value


Table = Annotated[dict[str, Any], AfterValidator(bounded)]
Curves = Annotated[dict[str, list[float]], AfterValidator(bounded)]


def possible_day(text: str) -> bool:
    """Whether a time or date in ISO 8601 is one on which a record could have been made; a day ahead is a time zone."""
    try:
        day = datetime.fromisoformat(text).date()
    except ValueError:
        return False
    return EARLIEST <= day <= datetime.now(UTC).date() + timedelta(days=1)
