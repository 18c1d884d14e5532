"""What the source of a method declares, read without importing it, for answers that need not wait for torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

PARAMS = "Params"  # the class within a method's that declares its parameters


def declared_parameters(target: str) -> set[str]:
    """The parameters that a method may have, by "module:Class": all that its module declares and those it imports.

    Modules of the same package are followed. A method may have fewer, never more.
    """
    module = target.partition(":")[0]
    package, todo, seen = module.partition(".")[0], [module], set[str]()
    found: set[str] = set()
    while todo:
        name = todo.pop()
        spec = None if name in seen else find_spec(name)
        seen.add(name)
        if spec is None or spec.origin is None:
            continue
        for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
                todo.append(node.module)
            elif isinstance(node, ast.ClassDef) and node.name == PARAMS:
                fields = (field.target for field in node.body if isinstance(field, ast.AnnAssign))
                found |= {field.id for field in fields if isinstance(field, ast.Name)}
    return found
