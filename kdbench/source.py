"""The source of a method: the modules of its own distribution that it imports, as they were when it was loaded.

kdbench's own package is not among them: what it changes raises a suite's `revision`.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.hashing import digest
from kdbench.tables import COMMIT, REPOSITORY

if TYPE_CHECKING:
    from kdbench.method import Method

HARNESS = "kdbench"
LABELS = frozenset({"source", "source code", "repository", "code"})  # of a Project-URL


def source_sha256(cls: type[Method]) -> str:
    """Hash of a method's source; asked first when it is loaded, it stays the same while the process lives."""
    return modules_sha256(roots(cls))


def roots(cls: type[Method]) -> tuple[str, ...]:
    """The modules of a method's class and of its bases."""
    from kdbench.method import Method

    return tuple(sorted({base.__module__ for base in cls.__mro__ if issubclass(base, Method) and base is not Method}))


@functools.cache
def modules_sha256(modules: tuple[str, ...]) -> str:
    """Hash of modules with what they import of their own distributions."""
    return digest({name: hashlib.sha256(content(path)).hexdigest() for name, path in with_imports(modules).items()})


def with_imports(modules: tuple[str, ...]) -> dict[str, Path]:
    """The files of modules, and of what they import of their own distributions, one through another."""
    homes = [Home.of(module) for module in modules]
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found or name.partition(".")[0] == HARNESS:
            continue
        path = module_file(name)
        if path is not None and any(home.holds(name, path) for home in homes):
            found[name] = path
            todo += imported(name, path)
    return found


@dataclass(frozen=True)
class Home:
    """Where a module comes from: its distribution, if it is installed, or the folder of its checkout.

    Attributes:
        packages: the top-level packages and modules of the distribution.
        folder: of a checkout; None for what is installed among others.
    """

    packages: frozenset[str]
    folder: Path | None

    @staticmethod
    def of(module: str) -> Home:
        top = module.partition(".")[0]
        path = module_file(module)
        if path is None:
            return Home(frozenset({top}), None)
        root = path.resolve().parents[module.count(".") + (path.name == "__init__.py")]
        installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
        if root not in {Path(folder).resolve() for folder in installed}:
            return Home(frozenset({top}), root)
        files = [f for name in installed_packages().get(top, ()) for f in distribution(name).files or ()]
        return Home(frozenset({top, *(f.parts[0].removesuffix(".py") for f in files if f.suffix == ".py")}), None)

    def holds(self, name: str, path: Path) -> bool:
        """Whether a module is of this distribution or checkout."""
        return name.partition(".")[0] in self.packages or (
            self.folder is not None and path.resolve().is_relative_to(self.folder) and "site-packages" not in path.parts
        )


@functools.cache
def installed_packages() -> Mapping[str, list[str]]:
    """The distributions of each top-level package; it takes most of a second to find them."""
    return packages_distributions()


def module_file(name: str) -> Path | None:
    """The Python file of a module, found without importing anything; None where there is none."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
        return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None
    package, _, last = name.rpartition(".")
    for folder in folders_of(package):
        for path in (folder / last / "__init__.py", folder / f"{last}.py"):
            if path.is_file():
                return path
    return None


def folders_of(package: str) -> list[Path]:
    """Where the modules of a package lie; of no package, those of the path."""
    if not package:
        return [Path(entry or ".") for entry in sys.path]
    if package in sys.modules:
        return [Path(entry) for entry in getattr(sys.modules[package], "__path__", ())]
    path = module_file(package)
    return [path.parent] if path is not None and path.name == "__init__.py" else []


@functools.cache
def content(path: Path) -> bytes:
    """A file as it was when it was first read: what is edited later was not loaded."""
    return path.read_bytes()


def imported(name: str, path: Path) -> Iterator[str]:
    """What a module imports, wherever in its file: modules, and names that may be modules."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from parents(name)
    try:
        tree = ast.parse(content(path))
    except SyntaxError:  # a module that nothing has loaded yet
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (alias.name, *parents(alias.name))
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (base, *parents(base), *(f"{base}.{alias.name}" for alias in node.names))


def parents(name: str) -> Iterator[str]:
    """The packages that a module lies in: importing it runs them."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def published_source(name: str) -> dict[str, str]:
    """Where a distribution's metadata say that its source is, as `repository`, and its `commit` if it came from there.

    The address is the one that it was installed from, else its Project-URL of Source or Repository.
    """
    try:
        found = distribution(name)
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError, OSError):
        return {}
    given = [text.partition(",") for text in found.metadata.get_all("Project-URL") or ()]
    named = [url.strip() for label, _, url in given if label.strip().lower() in LABELS]
    commit = origin.get("vcs_info", {}).get("commit_id")
    addresses = [*([origin.get("url", "")] if commit else []), *named]
    address = next((a.rstrip("/") for a in addresses if re.fullmatch(REPOSITORY, a.rstrip("/"))), None)
    about = {"repository": address, "commit": commit if re.fullmatch(COMMIT, commit or "") else None}
    return {key: value for key, value in about.items() if value}
