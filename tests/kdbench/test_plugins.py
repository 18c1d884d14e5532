"""Methods are found by entry points; a bad one is named and stops no other."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench import plugins
from kdbench.errors import KdbenchError
from kdbench.method import Method
from kdbench.plugins import list_plugins, load_method, method_info, problems
from kdbench.source import published_source

Install = Callable[..., Path]
GOOD = """
from kdbench import Method, Paper
class Good(Method):
    '''One line.'''
    name, version = "good", 3
    paper = Paper("A title", "An Author", 2026)
    scheme, knowledge = "offline", ("response",)
    requires = {"student.logits", "teacher.logits"}
    def loss(self, batch, student, teacher):
        return {"gap": (student.logits - teacher.logits).square().mean()}
"""


@pytest.mark.parametrize("name", ["vanilla", "kd", "fitnets", "at", "crd"])
def test_built_in_methods_come_through_the_same_group(name: str) -> None:
    method = load_method(name)
    assert method.name == name
    assert list_plugins()[name][0].distribution == "kdbench"


def test_a_strangers_method_is_found_with_its_distribution(install_plugin: Install) -> None:
    install_plugin("their-package", {"good": "good_module:Good"}, good_module=GOOD)
    assert load_method("good").version == 3
    [plugin] = list_plugins()["good"]
    assert (plugin.distribution, plugin.version) == ("their-package", "1.2")


def test_metadata_are_read_once_until_a_package_comes(install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    list_plugins()
    reads: list[str] = []
    original = plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda **about: reads.append(about["group"]) or original(**about))
    list_plugins().clear()  # a copy
    assert "kd" in list_plugins()
    assert reads == []
    folder = install_plugin("their-package", {"good": "good_module:Good"}, good_module=GOOD)
    assert {"kd", "good"} <= set(list_plugins())
    assert reads == ["kdbench.methods"]
    info = folder / "later-1.0.dist-info"  # into a folder that is on the path already
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdbench.methods]\nlater = later_module:Later\n")
    assert "later" in list_plugins()


def test_a_method_cannot_take_the_name_of_a_folder_of_kdbench(install_plugin: Install) -> None:
    install_plugin("theirs", {"teachers": "greedy:Good"}, greedy=GOOD.replace('"good"', '"teachers"'))
    with pytest.raises(KdbenchError, match="Choose another one"):
        load_method("teachers")


def test_listing_imports_no_plugin(install_plugin: Install) -> None:
    install_plugin("trap", {"trap": "trap_module:Trap"}, trap_module="raise SystemExit('imported')")
    assert "trap" in list_plugins()


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(KdbenchError, match=r"Unknown method 'fitnet'\. Did you mean 'fitnets'"):
        load_method("fitnet")
    with pytest.raises(KdbenchError, match="kdbench list methods"):
        load_method("zzz")


def test_two_distributions_with_one_name_are_both_named(install_plugin: Install) -> None:
    install_plugin("first", {"good": "good_module:Good"}, good_module=GOOD)
    install_plugin("second", {"good": "good_module:Good"}, good_module=GOOD)
    with pytest.raises(KdbenchError, match="registered twice") as caught:
        load_method("good")
    assert "first 1.2" in str(caught.value)
    assert "second 1.2" in str(caught.value)


def test_a_plugin_cannot_replace_a_built_in_method(install_plugin: Install) -> None:
    install_plugin("impostor", {"kd": "good_module:Good"}, good_module=GOOD)
    with pytest.raises(KdbenchError, match="registered twice"):
        load_method("kd")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
        ("Good = 3", "no subclass of kdbench.Method"),
        (GOOD.replace('"good"', '"better"'), "Make them equal"),
        (GOOD.replace('"good", 3', '"good", "3"'), "Make it an integer"),
        (GOOD.replace('"good", 3', '"good", 0'), "1 or more"),
        (GOOD.replace('"offline"', '"off"'), "scheme"),
        (GOOD.replace('("response",)', '"response"'), "knowledge"),
        (GOOD.replace("student.logits", "student.logit", 1), "Did you mean 'student.logits'"),
        (GOOD.replace("requires =", "needs ="), "requires is missing"),
        (GOOD.replace("    paper =", "    article ="), "paper is missing"),
        (GOOD.replace("def loss", "def losses"), "it has no loss"),
        (GOOD.replace("2026", '"2026"'), "year"),
        (GOOD.replace("    scheme", "    families = (1,)\n    scheme"), "families"),
        (GOOD + "    class Params(Method.Params):\n        weight: float\n", "weight has no default"),
        (GOOD + "    class Params(Method.Params):\n        weight: float = 'one'\n", "the default of its parameter"),
        (GOOD + "    def __init__(self): pass\n", "Make what it needs in build"),
        (GOOD.replace("    scheme", "    deviations = ('',)\n    scheme"), "deviations"),
        (GOOD.replace("    scheme", "    deviations = 'more epochs'\n    scheme"), "Make it a tuple of texts"),
        (GOOD.replace("    scheme", "    expected_failed_checks = {'repeats_itself': ' '}\n    scheme"), "no reason"),
        (GOOD.replace("One line.", "See /home/ada/notes."), "its docstring names a path"),
        (
            GOOD.replace("    scheme", "    deviations = ('by ada@gpu7',)\n    scheme"),
            "deviations names a user or host",
        ),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_a_broken_plugin_is_one_line_and_the_others_work(source: str, said: str, install_plugin: Install) -> None:
    module = f"broken_{abs(hash(source))}"
    install_plugin("theirs", {"good": f"{module}:Good"}, **{module: source})
    with pytest.raises(KdbenchError, match=re.escape(said)) as caught:
        load_method("good")
    assert "theirs 1.2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert load_method("kd").name == "kd"


def test_metadata_say_where_a_plugins_source_is(install_plugin: Install) -> None:
    site = install_plugin("stranger", {"good": "strange_module:Good"}, strange_module=GOOD)
    info = next(site.glob("*.dist-info"))
    assert published_source("stranger") == {}
    with (info / "METADATA").open("a") as file:
        file.write("Project-URL: Homepage, https://ada.example\nProject-URL: Source, https://github.com/ada/mine\n")
    assert published_source("stranger") == {"repository": "https://github.com/ada/mine"}
    installed = {"url": "https://github.com/ada/fork", "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
    (info / "direct_url.json").write_text(json.dumps(installed))
    assert published_source("stranger") == {"repository": "https://github.com/ada/fork", "commit": "0" * 40}
    (info / "direct_url.json").write_text(json.dumps({**installed, "url": "https://ada:token@github.com/x"}))
    assert published_source("stranger")["repository"] == "https://github.com/ada/mine"
    (info / "direct_url.json").write_text("{")
    assert published_source("stranger") == {}


def test_excused_checks_are_on_the_record_with_their_reasons() -> None:
    [plugin] = list_plugins()["irg"]
    assert set(method_info(load_method("irg"), plugin).excused_checks or {}) == {"averages_over_the_batch"}
    [plugin] = list_plugins()["kd"]
    assert "excused_checks" not in method_info(load_method("kd"), plugin).model_dump()


def test_built_in_methods_have_no_problems() -> None:
    for name, [plugin] in list_plugins().items():
        assert not list(problems(plugin.entry_point.load(), name))
    assert list(problems(Method, "method"))


def test_help_and_lists_import_no_torch() -> None:
    code = """
import sys
from kdbench.cli.app import app
for arguments in (["--help"], ["--version"], ["list", "methods"], ["run", "--help"]):
    try:
        app(arguments)
    except SystemExit as stop:
        assert not stop.code, stop.code
assert "torch" not in sys.modules and "numpy" not in sys.modules, "imported"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["records.evidence", "records.stats", "records.store", "suite", "commands.request"])
def test_reading_records_imports_no_torch(module: str) -> None:
    code = f"import sys, kdbench, kdbench.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], timeout=240, check=True)
