"""What the gate knows of the built-in methods, unimported: `built_in.json`, which docs/make_built_in.py makes."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DISTRIBUTION = "kdbench"


@dataclass(frozen=True)
class BuiltIn:
    """What the class of a method says.

    Attributes:
        defaults: of its parameters.
        deploys: whether it evaluates another network than the student.
    """

    title: str | None
    authors: str | None
    year: int | None
    arxiv: str | None
    version: int
    scheme: str
    knowledge: list[str]
    families: list[str]
    requires: list[str]
    deviations: list[str]
    defaults: dict[str, Any]
    deploys: bool


@functools.cache
def built_in() -> dict[str, BuiltIn]:
    """The methods of kdbench itself, by name."""
    text = Path(__file__).with_name("built_in.json").read_text(encoding="utf-8")
    return {name: BuiltIn(**about) for name, about in json.loads(text).items()}
