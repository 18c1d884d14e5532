"""The keys of cells and teachers: hashes of all that their results depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdbench.hashing import digest
from kdbench.suite import Suite


def cell_key(
    suite: Suite,
    student: str,
    seed: int,
    method: str,
    version: int,
    params: Mapping[str, Any],
    teachers: Sequence[str],
    assistants: Sequence[str] = (),
) -> str:
    """Key of a cell; `teachers` are the hashes of their weights, none for a method that reads none."""
    between = {"assistants": [[name, suite.models[name].identity] for name in assistants]} if assistants else {}
    return digest(
        {
            **between,
            "kind": "cell",
            "protocol": suite.protocol(),
            "recipe": suite.recipe_of(student).model_dump(mode="json", exclude_none=True),
            "student": [student, suite.models[student].identity],
            "seed": seed,
            "method": method,
            "version": version,
            "params": dict(params),
            "teachers": list(teachers),
        }
    )


def teacher_key(suite: Suite, model: str, version: int, weights: str | None = None, number: int = 0) -> str:
    """Key of a teacher's training, by this version of the plain method; none trains weights that are given.

    Args:
        weights: SHA-256 of a file of weights of its own.
        number: which of the architecture's teachers it is, the seed of its training.
    """
    # Neither the first version nor the first number is in it: teachers were accepted before keys knew of them.
    trained_by = {"version": version} if version > 1 and suite.teachers == "trained" and weights is None else {}
    own = {} if weights is None else {"weights": weights}
    return digest(
        {
            **trained_by,
            **own,
            **({"number": number} if number else {}),
            "kind": "teacher",
            "protocol": suite.teacher_protocol(),
            "model": suite.models[model].identity,
        }
    )
