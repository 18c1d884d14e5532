"""Names of rows as people write them: 'kd[temperature=2]' is the row 'kd[temperature=2.0]'."""

from __future__ import annotations

import re
import shlex
from collections.abc import Hashable, Iterable, Iterator


def same_row(one: str, other: str) -> bool:
    """Whether two names say the same method and the same values of its parameters."""
    return meaning(one) == meaning(other)


def distinct_rows(names: Iterable[str]) -> list[str]:
    """Each row once, as it is named first."""
    first: dict[Hashable, str] = {}
    for name in names:
        first.setdefault(meaning(name), name)
    return list(first.values())


def meaning(name: str) -> Hashable:
    """What a name says: the method, and its parameters in any order."""
    method, _, inside = name.removesuffix("]").partition("[")
    settings = [part.partition("=") for part in split_outside_brackets(inside)]
    return method, frozenset((parameter.strip(), value(text.strip())) for parameter, _, text in settings)


def as_options(name: str) -> str:
    """What `kdbench run --method` takes for a row: the method, and each of its own parameters after `--set`."""
    method, _, inside = name.removesuffix("]").partition("[")
    settings = [shlex.quote(setting) for setting in split_outside_brackets(inside) if setting]
    return " --set ".join([method, *settings])


def value(text: str) -> tuple[float | str, ...]:
    """What a value says, word by word: 2 and 2.0 are one number, True and true one answer."""
    return tuple(word(found) for found in re.findall(r"[^\s,\[\]()]+|[\[\]()]", text))


def word(text: str) -> float | str:
    """A number where it is one."""
    if text in ("True", "False"):
        return text.lower()
    try:
        return float(text) if re.search(r"\d", text) else text
    except ValueError:
        return text


def split_outside_brackets(text: str) -> Iterator[str]:
    """The parts between commas; those in brackets stay."""
    depth, start = 0, 0
    for i, character in enumerate(text + ","):
        depth += (character == "[") - (character == "]")
        if character == "," and (depth == 0 or i == len(text)):
            yield text[start:i].strip()
            start = i + 1
