"""`kdbench new NAME`: a package with one method, outside kdbench's repository."""

from __future__ import annotations

import keyword
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from rich.console import Console

from kdbench.errors import KdbenchError, writing
from kdbench.layout import RESERVED
from kdbench.plugins import list_plugins

TEMPLATE = Path(__file__).parents[1] / "template"


def write_package(name: str, folder: Path | None, console: Console) -> None:
    """Write the package and say what to do with it.

    Raises:
        KdbenchError: a name that cannot be one or is taken, a folder that is not empty or cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or keyword.iskeyword(name):
        raise KdbenchError(f"'{name}' cannot be a method's name: lower-case letters, digits and underscores, please.")
    if name in RESERVED or name in list_plugins():
        raise KdbenchError(f"There is a method '{name}' already. Choose another name.")
    distribution = f"kdbench-{name.replace('_', '-')}"
    folder = folder or Path(distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KdbenchError(f"{folder} is there already. Choose another folder (--out), or remove it.")
    package = f"{name}_method" if name in sys.stdlib_module_names or name in ("kdbench", "torch", "timm") else name
    values = {
        "name": name,
        "package": package,
        "distribution": distribution,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "year": str(datetime.now(UTC).year),
    }
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "method.py": f"{package}.py",
        "test_method.py": f"test_{package}.py",
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in files.items():
            text = Template((TEMPLATE / f"{source}.template").read_text("utf-8")).substitute(values)
            (folder / target).write_text(text, "utf-8")
    steps = [
        f"Wrote {folder}. Next:",
        "",
        f"    cd {folder}",
        '    pip install -e ".[test]"',
        f"    kdbench check {name}",
        f"    kdbench run --method {name}",
        "",
        f"The method is in {package}.py; write its loss there.",
    ]
    console.print("\n".join(steps), markup=False, highlight=False)
