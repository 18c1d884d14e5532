"""A copy of a suite's file with other parameters of a method; its comments stay where they can."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError, writing
from kdbench.files import write_atomically
from kdbench.suites import SUITES, load_suite, suite_file

PATHS = ("file", "record")  # of a teacher's weights


def write_copy(suite: str, overrides: Mapping[str, Mapping[str, Any]], out: Path) -> str:
    """Write a suite's file once more, with these tables of methods instead of its own.

    A built-in suite's copy is named after its file, since results of the same name would be taken for the built-in's.
    Weights of one's own that lie by their path from the suite's file are named by their path from the copy.

    Returns:
        the copy's name.

    Raises:
        KdbenchError: it cannot be written.
    """
    path = suite_file(suite)
    text = path.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    name = out.stem if path.parent == SUITES else table["name"]
    moved = moved_paths(table, path.parent, out.parent)
    weights = {"weights": {model: at(given, moved) for model, given in table["weights"].items()}} if moved else {}
    wanted = {**table, **weights, "name": name, "methods": {**table.get("methods", {}), **overrides}}
    text = with_name(text, name)
    for old, new in moved.items():
        for quoted in (to_toml(old), f"'{old}'"):
            text = text.replace(quoted, to_toml(new))
    for method, override in overrides.items():
        text = with_block(text, method, block(method, override))
    if not says(text, wanted):  # tables written in another way than one below the other
        text = "".join(f"{to_toml_key(key)} = {to_toml(value)}\n" for key, value in wanted.items())
    with writing(out):
        write_atomically(out, text.encode())
    try:
        load_suite(str(out))
    except KdbenchError:
        out.unlink()
        raise
    return str(name)


def moved_paths(table: Mapping[str, Any], before: Path, after: Path) -> dict[str, str]:
    """What a suite's weights are called in one folder, and in another; only what is there and is called otherwise."""
    weights = [given for given in table.get("weights", {}).values() if isinstance(given, dict)]
    paths = [given[key] for given in weights for key in PATHS if key in given]
    there = [path for path in paths if not Path(path).is_absolute() and (before / path).exists()]
    moved = {path: Path(os.path.relpath(before / path, after)).as_posix() for path in there}
    return {old: new for old, new in moved.items() if Path(old) != Path(new)}


def at(given: Any, moved: Mapping[str, str]) -> Any:
    """A teacher's weights with their paths as in another folder."""
    if not isinstance(given, dict):
        return given
    return {key: moved.get(value, value) if key in PATHS else value for key, value in given.items()}


def block(method: str, override: Mapping[str, Any]) -> str:
    """The table of a method, as a suite's file has it."""
    lines = [f"{key} = {to_toml(value)}" for key, value in override.items()]
    return "\n".join([f"[methods.{to_toml_key(method)}]", *lines]) + "\n"


def with_name(text: str, name: str) -> str:
    """A suite's text with another name."""
    lines = text.splitlines(keepends=True)
    for i, line in enumerate(lines):
        if header_of(line) is not None:
            break
        if line.partition("=")[0].strip() == "name":
            lines[i] = f"name = {to_toml(name)}\n"
            break
    return "".join(lines)


def with_block(text: str, method: str, new: str) -> str:
    """A suite's text with another table of a method, where its own is, or at the end; a line in [methods] goes.

    Comments above the next table are that one's, and stay.
    """
    lines = text.splitlines(keepends=True)
    kept: list[str] = []
    place: int | None = None
    inside, table = False, tuple[str, ...]()
    for i, line in enumerate(lines):
        header = header_of(line)
        if header is not None:
            table = header
            inside = header[:2] == ("methods", method)
            place = len(kept) if inside and place is None else place
        if table == ("methods",) and sets(line, method):
            continue
        if not inside or (is_idle(line) and belongs_below(lines[i:])):
            kept.append(line)
    if place is None:
        return "".join(kept).rstrip("\n") + "\n\n" + new
    return "".join([*kept[:place], new, *kept[place:]])


def sets(line: str, key: str) -> bool:
    """Whether a line gives a key of its table a value."""
    try:
        return key in tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return False


def header_of(line: str) -> tuple[str, ...] | None:
    """The names in the header of a table; None for another line."""
    if not line.lstrip().startswith("["):
        return None
    try:
        value: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    names = []
    while isinstance(value, dict) and value:
        [(name, value)] = value.items()
        names.append(name)
    return tuple(names)


def is_idle(line: str) -> bool:
    """Whether a line is empty, or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def belongs_below(lines: list[str]) -> bool:
    """Whether nothing but empty lines and comments stands between here and the next table, or the end."""
    busy = next((line for line in lines if not is_idle(line)), None)
    return busy is None or header_of(busy) is not None


def says(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a text is TOML of this content."""
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def to_toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, Mapping):
        pairs = [f"{to_toml_key(key)} = {to_toml(one)}" for key, one in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def to_toml_key(name: str) -> str:
    """A key, in quotes where it needs them."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else to_toml(name)
