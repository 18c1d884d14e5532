"""The source of a method: the modules of its own distribution that it imports, as they were when it was loaded.

kdbench's own package is not among them: what it changes raises a suite's `revision`.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.hashing import digest

if TYPE_CHECKING:
    from kdbench.method import Method

HARNESS = "kdbench"


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
    own = {name for module in modules for name in own_packages(module)} - {HARNESS}
    found: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in found and name.partition(".")[0] in own and (path := module_file(name)):
            found[name] = path
            todo += imported(name, path)
    return found


def own_packages(module: str) -> set[str]:
    """The top-level packages and modules that come with a module: of its distribution, or beside it in a checkout."""
    top = module.partition(".")[0]
    path = module_file(module)
    if path is None:
        return {top}
    depth = module.count(".") + (path.name == "__init__.py")
    root = path.resolve().parents[depth]
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
    if root not in {Path(folder).resolve() for folder in installed}:
        return {top} | {p.stem for p in root.iterdir() if p.suffix == ".py" or (p.is_dir() and p.name.isidentifier())}
    found = {top}
    for name in packages_distributions().get(top, ()):
        try:
            files = distribution(name).files or ()
        except PackageNotFoundError:
            continue
        found |= {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}
    return found


def module_file(name: str) -> Path | None:
    """The Python file of a module; None where there is none."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, AttributeError, ValueError):
            return None
        origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") and Path(origin).is_file() else None


@functools.cache
def content(path: Path) -> bytes:
    """A file as it was when it was first read: what is edited later was not loaded."""
    return path.read_bytes()


def imported(name: str, path: Path) -> Iterator[str]:
    """What a module imports, wherever in its file: modules, and names that may be modules."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    yield from parents(name)
    for node in ast.walk(ast.parse(content(path))):
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
