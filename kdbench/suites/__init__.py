"""The built-in suites, and reading these or any suite's file.

load_suite("digits")             a built-in suite
load_suite("path/to/mine.toml")  a user's own
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from kdbench.errors import KdbenchError, did_you_mean, first_problem
from kdbench.hashing import labels_sha256
from kdbench.suite import Suite

SUITES = Path(__file__).parent


def list_suites() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def suite_file(name: str) -> Path:
    """The file of a built-in suite, or of a path.

    Raises:
        KdbenchError: no built-in suite of this name.
    """
    if name.endswith(".toml"):
        return Path(name)
    if name not in list_suites():
        raise KdbenchError(f"Unknown suite '{name}'.{did_you_mean(name, list_suites())} A path must end in .toml.")
    return SUITES / f"{name}.toml"


def load_suite(name: str) -> Suite:
    """Read a built-in suite by name, or any suite file by its path.

    Raises:
        KdbenchError: no such suite, not TOML, an unknown key or a wrong value; names the file and the key.
    """
    path = suite_file(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        suite = Suite.model_validate_json(json.dumps(prepared(table)))
    except OSError as error:
        raise KdbenchError(f"Cannot read suite file {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KdbenchError(f"Suite file {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise KdbenchError(f"Suite file {path}: {first_problem(error)}.") from error
    except (TypeError, ValueError) as error:
        raise KdbenchError(f"Suite file {path}: {error}.") from error
    if path.parent != SUITES and suite.name in list_suites():
        raise KdbenchError(f"Suite file {path}: name: '{suite.name}' is a built-in suite. Choose another name.")
    located = {name: weights.located(path.parent) for name, weights in suite.weights.items()}
    return suite.model_copy(update={"weights": located})


def prepared(table: dict[str, Any]) -> dict[str, Any]:
    """A suite's TOML table with its pairs taken apart.

    Raises:
        ValueError: a pair of another form, or a key that only `--epochs` and `--validate` set.
    """
    data = table.get("data")
    if "off_protocol" in table or (isinstance(data, dict) and "evaluate_on" in data):
        raise ValueError("off_protocol and data.evaluate_on are set by --epochs and --validate. Remove them")
    if not isinstance(pairs := table.get("pairs"), list):
        return table
    for pair in pairs:
        if str(pair).count(":") != 1:
            raise ValueError(f"pair '{pair}' is not of the form 'teacher:student'")
    split = [str(pair).split(":") for pair in pairs]
    return {**table, "pairs": [{"teacher": teacher, "student": student} for teacher, student in split]}


def load_test_labels(suite: Suite) -> np.ndarray:
    """(I,) test labels of a built-in suite, in canonical order, from which anyone recomputes its metrics.

    Raises:
        KdbenchError: the suite ships none, or the file does not match its hash.
    """
    path = SUITES / "labels" / f"{(suite.data.test_labels_sha256 or 'unknown')[:12]}.txt"
    if not path.is_file():
        raise KdbenchError(
            f"kdbench has no test labels for suite '{suite.name}' (data.test_labels_sha256): its records are not for "
            "the board."
        )
    labels = np.array(path.read_text(encoding="utf-8").split(), dtype=np.int64)
    if labels_sha256(labels) != suite.data.test_labels_sha256:
        raise KdbenchError(
            f"{path} is corrupt: its content does not match data.test_labels_sha256. Install kdbench again."
        )
    return labels


def shipped_names(source: str, num_classes: int) -> list[str] | None:
    """The names of the classes of a data set that kdbench knows them of."""
    path = SUITES / "classes" / f"{source.replace('/', '--')}.txt"
    names = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return names if len(names) == num_classes else None
