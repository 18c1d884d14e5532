"""Write kdbench/records/built_in.json, what the gate knows of the built-in methods: python docs/make_built_in.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdbench.method import Method
from kdbench.plugins import list_plugins, load_method

PAGE = Path(__file__).parents[1] / "kdbench" / "records" / "built_in.json"
COMMAND = "python docs/make_built_in.py"


def page() -> str:
    """The whole file: a method a line."""
    names = [name for name, (plugin, *_) in list_plugins().items() if plugin.distribution == "kdbench"]
    lines = [f"{json.dumps(name)}: {json.dumps(about(load_method(name)))}" for name in names]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def about(method: type[Method]) -> dict[str, Any]:
    """What a record of the method must say: its class says it, and importing that needs torch."""
    paper = {name: getattr(method.paper, name, None) for name in ("title", "authors", "year", "arxiv")}
    return {
        **paper,
        "version": method.version,
        "scheme": method.scheme,
        "knowledge": list(method.knowledge),
        "families": list(method.families),
        "requires": sorted(method.requires),
        "deviations": list(method.deviations),
        "defaults": method.Params().model_dump(mode="json"),
        "deploys": method.deployed is not Method.deployed,
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
