"""The lines of a method that are its loss: cut from its file, which is read and never run."""

from __future__ import annotations

import ast
import functools
import importlib.util
import textwrap
from dataclasses import dataclass
from pathlib import Path

from kdbench.records.parts import MethodInfo

PACKAGE, DISTRIBUTION = "kdbench_methods", "kdbench"
MOST = 45  # lines of the functions that a loss calls
PLACES = ("loss", "improve", "build")  # of a loss; methods that distil data improve images, or choose them in `build`


@dataclass(frozen=True)
class Code:
    """A loss as it stands in its file.

    Attributes:
        path: of the file, from the repository's root; lines: its first and last one there.
        text: the function; helpers: those that it calls, of the same file.
    """

    path: str
    lines: tuple[int, int]
    text: str
    helpers: tuple[str, ...]


@functools.cache
def folder() -> Path | None:
    """Where the built-in methods lie; found without importing them."""
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


def loss_code(info: MethodInfo) -> Code | None:
    """The loss of a built-in method; None of another, or where the file has another version than the records."""
    home = folder()
    if info.distribution != DISTRIBUTION or home is None:
        return None
    found = class_named(home / f"{info.name}.py", info.name)
    if found is None or found.version not in (None, info.version):
        return None
    return found.loss(home)


@dataclass(frozen=True)
class Source:
    """A class in its file."""

    path: Path
    tree: ast.Module
    cls: ast.ClassDef

    @property
    def version(self) -> int | None:
        value = assigned(self.cls, "version")
        return value if isinstance(value, int) else None

    def loss(self, home: Path) -> Code | None:
        """Its own loss, else that of the class that it is made from."""
        return next(filter(None, (self.function(name, home) for name in PLACES)), None)

    def function(self, name: str, home: Path) -> Code | None:
        """Its function of this name, or its base's."""
        own = next((n for n in self.cls.body if isinstance(n, ast.FunctionDef) and n.name == name), None)
        if own is not None:
            return self.code(own, home)
        for base in self.cls.bases:
            above = self.base(base, home)
            if above is not None and (code := above.function(name, home)):
                return code
        return None

    def base(self, node: ast.expr, home: Path) -> Source | None:
        """The class that a base names, in this file or in one that is imported."""
        if not isinstance(node, ast.Name):
            return None
        if here := find_class(self.tree, node.id):
            return Source(self.path, self.tree, here)
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom) and any(a.name == node.id for a in statement.names):
                parts = (statement.module or "").split(".")
                if parts[0] == PACKAGE:
                    path = home.joinpath(*parts[1:]).with_suffix(".py")
                    tree = parsed(path)
                    cls = find_class(tree, node.id)
                    return Source(path, tree, cls) if cls else None
        return None

    def code(self, node: ast.FunctionDef, home: Path) -> Code:
        """The function, and those of the same class or file that it calls."""
        text = self.path.read_text(encoding="utf-8")
        methods = {n.name: n for n in self.cls.body if isinstance(n, ast.FunctionDef)}
        functions = {n.name: n for n in self.tree.body if isinstance(n, ast.FunctionDef)}
        helpers, left = [], MOST
        for name in called(node):
            helper = methods.get(name) or functions.get(name)
            if helper is None or helper is node:
                continue
            left -= (helper.end_lineno or helper.lineno) - helper.lineno + 1
            if left > 0:
                helpers.append(cut(text, helper))
        where = f"methods/{self.path.relative_to(home).as_posix()}"
        return Code(where, (node.lineno, node.end_lineno or node.lineno), cut(text, node), tuple(helpers))


def class_named(path: Path, method: str) -> Source | None:
    """The class of a method in its file."""
    if not path.is_file():
        return None
    tree = parsed(path)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and assigned(node, "name") == method:
            return Source(path, tree, node)
    return None


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def find_class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    return next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)


def assigned(cls: ast.ClassDef, name: str) -> object:
    """The constant that a class gives one of its attributes, alone or in a row of several."""
    for node in cls.body:
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = (
                zip(target.elts, node.value.elts, strict=True)
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                else [(target, node.value)]
            )
            for one, value in pairs:
                if isinstance(one, ast.Name) and one.id == name and isinstance(value, ast.Constant):
                    return value.value
    return None


def called(node: ast.FunctionDef) -> list[str]:
    """Names of what a function calls, `f(...)` and `self.f(...)`, each once."""
    names = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            f = call.func
            if isinstance(f, ast.Name):
                names.append(f.id)
            elif isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "self":
                names.append(f.attr)
    return list(dict.fromkeys(names))


def cut(text: str, node: ast.FunctionDef) -> str:
    """The lines of a function, to the left."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return textwrap.dedent("\n".join(text.split("\n")[first - 1 : node.end_lineno]))
