"""What a method is made of: its own modules and what they import of its distribution, as they were loaded."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.hashing import digest, file_sha256
from kdbench.plugins import list_plugins, load_method
from kdbench.source import roots, source_sha256, with_imports

Command = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Path]
METHOD = """
from kdbench import Method
import {helper}
class Theirs(Method):
    '''One line.'''
    name, scheme, requires = "{name}", "baseline", {{"student.logits"}}
    def loss(self, batch, student, teacher):
        return {{"ce": {helper}.cross_entropy(student.logits, batch.labels)}}
"""
HELPER = "from torch.nn.functional import cross_entropy as cross_entropy\n"


def modules(name: str) -> set[str]:
    return set(with_imports(roots(load_method(name))))


@pytest.mark.parametrize(
    ("name", "helpers"),
    [
        ("crd", {"crd", "parts", "parts.with_kd", "kd"}),
        ("one", {"one", "kd", "parts", "parts.branches", "parts.layers", "parts.ramp"}),
        ("dafl", {"dafl", "parts", "parts.data_free", "parts.generator", "kd"}),
        ("vanilla", {"vanilla"}),
    ],
)
def test_the_source_holds_every_module_that_the_file_imports(name: str, helpers: set[str]) -> None:
    assert modules(name) == {"kdbench_methods", *(f"kdbench_methods.{helper}" for helper in helpers)}


def test_every_file_that_a_built_in_method_has_loaded_is_of_its_source() -> None:
    """In a process of its own a method loads nothing of kdbench_methods that its source does not name."""
    code = """
import json, sys
from kdbench.plugins import load_method
load_method("cmi")
print(json.dumps([m for m in sys.modules if m.startswith("kdbench_methods")]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(json.loads(done.stdout)) == modules("cmi")


def test_kdbench_itself_is_of_no_methods_source() -> None:
    for name in list_plugins():
        assert not [module for module in modules(name) if module.partition(".")[0] == "kdbench"]


def test_a_strangers_helper_file_is_of_the_source(install_plugin: Install) -> None:
    install_plugin(
        "theirs",
        {"theirs_with_helper": "their_module:Theirs"},
        their_module=METHOD.format(name="theirs_with_helper", helper="their_helper"),
        their_helper=HELPER,
        not_imported="pass",
    )
    assert modules("theirs_with_helper") == {"their_module", "their_helper"}


def test_a_folder_that_is_called_like_a_library_beside_a_method_brings_none_of_it(install_plugin: Install) -> None:
    site = install_plugin(
        "theirs",
        {"beside_timm": "beside_timm:Theirs"},
        beside_timm="import timm.layers, numpy, datasets\n" + METHOD.format(name="beside_timm", helper="broken_helper"),
        broken_helper=HELPER + "def late():\n    import unparsable, no_such_module\n",
        unparsable="def (",
    )
    for name in ("timm", "datasets", "wandb"):
        (site / name).mkdir()
    assert modules("beside_timm") == {"beside_timm", "broken_helper", "unparsable"}


def test_a_package_with_relative_imports_is_followed_through_its_modules(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "pack"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts" / "__init__.py").write_text("from . import deep")
    (package / "parts" / "deep.py").write_text("")
    (package / "late.py").write_text("import json")
    (package / "unused.py").write_text("")
    (package / "mine.py").write_text(
        "from .parts import deep\nfrom kdbench import Method\nclass Mine(Method):\n"
        "    def loss(self, *a):\n        from . import late\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    cls = importlib.import_module("pack.mine").Mine
    assert set(with_imports(roots(cls))) == {"pack", "pack.mine", "pack.parts", "pack.parts.deep", "pack.late"}


def source_of(folder: Path, *names: str) -> str:
    """The hash of these modules, from their files as they are now."""
    return digest({name: file_sha256(folder / f"{name}.py") for name in names})


def test_what_was_loaded_is_what_the_source_says_whatever_is_edited_later(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "edited_method.py").write_text(METHOD.format(name="edited", helper="edited_helper"))
    (tmp_path / "edited_helper.py").write_text(HELPER)
    monkeypatch.syspath_prepend(str(tmp_path))
    cls = importlib.import_module("edited_method").Theirs
    before = source_sha256(cls)
    assert before == source_of(tmp_path, "edited_method", "edited_helper")
    (tmp_path / "edited_helper.py").write_text("import nothing_of_this_name")
    assert source_sha256(cls) == before


@pytest.mark.slow
def test_a_method_that_is_edited_while_it_trains_adopts_no_record_of_before(
    kdbench: Command, small_suite: Path, tmp_path: Path, install_plugin: Install
) -> None:
    """The record carries the source that was loaded; the edited method is trained again."""
    source = METHOD.format(name="theirs", helper="edits_itself")
    helper = HELPER + (
        "import pathlib\n"
        "def cross_entropy(logits, labels):\n"
        "    import torch\n"
        "    path = pathlib.Path(__file__)\n"
        "    if path.stat().st_size < 2000:\n"
        "        path.write_text(path.read_text() + '#' * 2000)\n"
        "    return torch.nn.functional.cross_entropy(logits, labels)\n"
    )
    site = install_plugin("theirs", {"theirs": "their_method:Theirs"}, their_method=source, edits_itself=helper)
    before = source_of(site, "their_method", "edits_itself")
    arguments = ("run", "-m", "theirs", "--suite", small_suite, "--seeds", "1", "--no-mlflow", "--workers", "1")
    assert kdbench(*arguments).returncode == 0
    (record,) = (tmp_path / "runs" / "small" / "theirs").glob("*/record.json")
    assert json.loads(record.read_text())["method"]["source_sha256"] == before
    again = kdbench(*arguments)
    assert "1 recorded" in again.stdout + again.stderr, "the plain student alone"
    after = source_of(site, "their_method", "edits_itself")
    assert json.loads(record.read_text())["method"]["source_sha256"] == after != before
