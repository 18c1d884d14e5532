"""The suite behind a record, built-in or one's own, bound to the data, networks and weights that are here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.access import load_dataset, with_content
from kdbench.errors import KdbenchError
from kdbench.networks.packages import with_sources
from kdbench.running.own_weights import with_own_weights
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite, load_test_labels


def suite_of(name: str, given: str | None, folder: Path) -> Suite:
    """The suite of a record: the one that is given, a built-in one, or the file of one's own beside its folder.

    Args:
        folder: that holds the record's suite, `runs/` say; the file is sought in the folder above, then here.

    Raises:
        KdbenchError: no suite of this name.
    """
    if given is None and name not in list_suites():
        places = dict.fromkeys((folder.absolute().parent, Path.cwd()))
        found = [path for place in places for path in sorted(place.glob("*.toml")) if says_name(path, name)]
        if not found:
            raise KdbenchError(
                f"Suite '{name}' is not built in, and no suite file beside {folder} is called so. Name its file with "
                "--suite."
            )
        given = str(found[0])
    suite = load_suite(given or name)
    if suite.name != name:
        raise KdbenchError(f"'{given}' (--suite) is suite '{suite.name}', and the record is of '{name}'. Name its own.")
    return suite


def as_recorded(suite: Suite, protocol: dict[str, Any]) -> Suite:
    """The suite with what a record's protocol changed of it: epochs, its teachers' epochs, validation images."""

    def said(table: str, name: str, own: Any) -> Any:
        given = protocol.get(table)
        value = given.get(name) if isinstance(given, dict) else None
        return value if type(value) is type(own) and value else own

    suite = suite.with_epochs(said("recipe", "epochs", suite.recipe.epochs))
    if said("data", "evaluate_on", "test") == "validation":
        suite = suite.with_validation()
    return suite.with_teacher_epochs(said("teacher_recipe", "epochs", suite.teacher_recipe().epochs))


def says_name(path: Path, name: str) -> bool:
    """Whether a TOML file is that of a suite of this name."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return False
    return table.get("name") == name and "pairs" in table


def bound(suite: Suite) -> Suite:
    """A suite with the content of its data, its networks' code and its own weights.

    Raises:
        KdbenchError: one of them is not here.
    """
    return with_content(with_own_weights(with_sources(suite)))


def known_test_labels(suite: Suite) -> np.ndarray:
    """(I,) labels of the images reported on: those that ship with kdbench, or those of the data that are here.

    Raises:
        KdbenchError: the data cannot be had.
    """
    if suite.name in list_suites() and suite.data.evaluate_on == "test":
        return load_test_labels(suite)
    labels: np.ndarray = load_dataset(suite.data).test_labels.numpy()
    return labels
