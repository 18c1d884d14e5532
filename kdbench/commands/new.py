"""`kdbench new NAME`: a package with one method, or one network, outside kdbench's repository."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from rich.console import Console

from kdbench.errors import KdbenchError, writing
from kdbench.layout import RESERVED
from kdbench.plugins import list_plugins

TEMPLATE = Path(__file__).parents[1] / "template"
LONGEST = 41  # characters of a name


@dataclass(frozen=True)
class Kind:
    """What a package has.

    Attributes:
        what: it is called.
        is_taken: whether there is one of a name already.
        files: templates and what they become, $package for the module's name.
        steps: what to do with the package, and a last line about its module.
    """

    what: str
    is_taken: Callable[[str], bool]
    files: dict[str, str]
    steps: tuple[str, ...]


def is_method(name: str) -> bool:
    return name in RESERVED or name in list_plugins()


def is_network(name: str) -> bool:
    import timm

    import kdbench.models  # noqa: F401  (registers kdbench's networks with timm)
    from kdbench.networks.packages import list_networks

    return timm.is_model(name) or name in list_networks()


METHOD = Kind(
    "method",
    is_method,
    {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "method.py": "$package.py",
        "test_method.py": "test_$package.py",
    },
    ("kdbench check $name", "kdbench run --method $name", "The method is in $package.py; write its loss there."),
)
NETWORK = Kind(
    "network",
    is_network,
    {
        "network_pyproject.toml": "pyproject.toml",
        "network_README.md": "README.md",
        "network.py": "$package.py",
        "test_network.py": "test_$package.py",
    },
    ("pytest", "kdbench show model $name", 'The network is in $package.py; a suite names it: name = "$name".'),
)


def unfit(name: str) -> Iterator[str]:
    """Why Python, or a folder, cannot have something of this name."""
    if re.search(r"[^a-z0-9_]", name) or not name:
        yield "lower-case letters, digits and underscores, please"
    if not re.match(r"[a-z]", name):
        yield "it has to begin with a letter"
    if len(name) > LONGEST:
        yield f"it is longer than {LONGEST} characters"
    if keyword.iskeyword(name):
        yield "it is a word of Python's own"


def write_package(name: str, kind: Kind, folder: Path | None, console: Console) -> None:
    """Write the package and say what to do with it.

    Raises:
        KdbenchError: a name that cannot be one or is taken, a folder that is not empty or cannot be written.
    """
    if why := next(unfit(name), None):
        raise KdbenchError(f"'{name}' cannot be a {kind.what}'s name: {why}.")
    if kind.is_taken(name):
        raise KdbenchError(f"There is a {kind.what} '{name}' already. Choose another name.")
    distribution = f"kdbench-{name.replace('_', '-')}"
    folder = folder or Path(distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KdbenchError(f"{folder} is there already. Choose another folder (--out), or remove it.")
    clash = name in sys.stdlib_module_names or name in ("kdbench", "torch", "timm")
    values = {
        "name": name,
        "package": f"{name}_{kind.what}" if clash else name,
        "distribution": distribution,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "year": str(datetime.now(UTC).year),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in kind.files.items():
            text = Template((TEMPLATE / f"{source}.template").read_text("utf-8")).substitute(values)
            (folder / Template(target).substitute(values)).write_text(text, "utf-8")
    *commands, about = (Template(step).substitute(values) for step in kind.steps)
    steps = [f"cd {folder}", 'pip install -e ".[test]"', *commands]
    lines = [f"Wrote {folder}. Next:", "", *(f"    {step}" for step in steps), "", about]
    console.print("\n".join(lines), markup=False, highlight=False)
