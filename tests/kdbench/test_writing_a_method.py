"""What the documentation and `kdbench new` give a stranger works, outside kdbench's repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.checks import NAMES, check_method
from kdbench.plugins import list_plugins

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "writing-a-method.md"
Install = Callable[..., Path]
Command = Callable[..., subprocess.CompletedProcess[str]]


def code_blocks() -> dict[str, str]:
    """The guide's Python code by file name."""
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize(
    ("name", "target"), [("soft_hinge", "SoftHinge"), ("map_angle", "MapAngle"), ("second_try", "SecondTry")]
)
def test_the_guides_methods_pass_all_checks_from_their_own_package(
    name: str, target: str, install_plugin: Install
) -> None:
    install_plugin(f"their-{name}", {name: f"{name}:{target}"}, **{name: code_blocks()[name]})
    assert [result for result in check_method(name) if result.outcome != "passed"] == []


def test_the_guides_files_take_the_place_of_those_that_new_writes(
    install_plugin: Install, here: Command, tmp_path: Path
) -> None:
    blocks = code_blocks()
    assert here("new", "soft_hinge").returncode == 0
    written = sorted((tmp_path / "kdbench-soft-hinge").glob("*.py"))
    for path in written:
        path.write_text(blocks[path.stem])
    install_plugin("theirs", {"soft_hinge": "soft_hinge:SoftHinge"}, soft_hinge=blocks["soft_hinge"])
    assert outcome_of_tests(tmp_path / "kdbench-soft-hinge").endswith(f"{len(NAMES) + 2} passed")


def outcome_of_tests(folder: Path) -> str:
    """How many of a folder's tests passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.splitlines()[-1].partition(" in ")[0]


def test_the_guides_test_runs_every_check(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin("theirs", {"map_angle": "map_angle:MapAngle"}, map_angle=code_blocks()["map_angle"])
    (tmp_path / "test_it.py").write_text(code_blocks()["test_map_angle"])
    assert outcome_of_tests(tmp_path) == f"{len(NAMES)} passed"


def test_the_guide_names_real_hooks_and_checks() -> None:
    from kdbench import Batch, Method, Setup

    text = GUIDE.read_text()
    hooks = ("stages", "main", "before_epoch", "inputs", "deployed", "networks", "synthetic", "momentum_shifts")
    assert all(hasattr(Method, hook) and f"`{hook}(" in text for hook in hooks)
    given = (
        "network",
        "read_student",
        "read_teacher",
        "images",
        "student_network",
        "teacher_network",
        "student_from",
        "teacher_from",
    )
    assert all(name in Setup.__dataclass_fields__ and f"setup.{name}" in text for name in given)
    assert "strong_images" in Batch.__dataclass_fields__
    assert "`batch.strong_images`" in text
    assert {"trains_every_parameter", "never_waits_for_the_device"} <= set(NAMES)
    assert "trains_every_parameter" in text


@pytest.fixture
def stranger(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command in a fresh virtual environment that sees the packages of this one, its pip and setuptools included."""
    environment = tmp_path / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", environment], check=True, timeout=120
    )
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    here = environment / "lib" / version / "site-packages" / "packages-of-the-tests.pth"
    packages = sysconfig.get_paths()["purelib"]  # where the tests run in a virtual environment themselves
    here.write_text(f"import site; site.addsitedir({packages!r})\n")

    def run(*arguments: str | Path, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [environment / "bin" / "python", "-m", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.mark.slow
def test_a_new_package_is_installed_checked_tested_and_run(
    stranger: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    def files() -> set[Path]:
        return {path for folder in ("kdbench", "methods") for path in (ROOT / folder).rglob("*.py")}

    before = files()
    written = stranger("kdbench", "new", "my_method")
    assert written.returncode == 0, written.stderr
    assert "kdbench check my_method" in written.stdout
    package = tmp_path / "kdbench-my-method"
    installed = stranger("pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "-q", "-e", package)
    assert installed.returncode == 0, installed.stderr
    checked = stranger("kdbench", "check", "my_method")
    assert checked.returncode == 0, checked.stdout
    assert f"my_method: all {len(NAMES)} checks passed" in checked.stdout
    tested = stranger("pytest", "-q", cwd=package)
    assert f"{len(NAMES) + 2} passed" in tested.stdout, tested.stdout
    ran = stranger(
        "kdbench", "run", "--method", "my_method", "--pair", "resnet8:resnet8_w8", "--seeds", "1", "--epochs", "2",
        "--no-mlflow", "--out", "runs",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    [record] = [json.loads(path.read_text()) for path in tmp_path.glob("runs/digits/my_method/*/record.json")]
    assert record["method"]["distribution"] == "kdbench-my-method"
    assert record["method"]["distribution_version"] == "0.1.0"
    assert files() == before


@pytest.mark.slow
def test_a_new_network_is_installed_tested_and_shown_with_its_package(
    stranger: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    written = stranger("kdbench", "new", "tiny_net", "--model")
    assert written.returncode == 0, written.stderr
    package = tmp_path / "kdbench-tiny-net"
    installed = stranger("pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "-q", "-e", package)
    assert installed.returncode == 0, installed.stderr
    tested = stranger("pytest", "-q", cwd=package)
    assert "3 passed" in tested.stdout, tested.stdout
    listed = stranger("kdbench", "list", "models", "--json")
    [row] = [row for row in json.loads(listed.stdout) if row.get("timm") == "tiny_net"]
    assert row["package"] == "kdbench-tiny-net 0.1.0"
    shown = json.loads(stranger("kdbench", "show", "model", "tiny_net", "--input", "16", "--json").stdout)
    assert [entry["map"] for entry in shown["maps"]] == ["stem", "stages.0", "stages.1", "stages.2"]
    assert [entry["depth"] for entry in shown["maps"]] == ["stem", "0.33", "0.67", "1.00"]
    assert "There is a network 'resnet18' already" in stranger("kdbench", "new", "resnet18", "--model").stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kd", "There is a method 'kd' already"),
        ("teachers", "Choose another name"),
        ("My-Method", "lower-case letters"),
        ("class", "cannot be a method's name: it is a word of Python's own"),
        ("1abc", "cannot be a method's name: it has to begin with a letter"),
        ("_abc", "cannot be a method's name: it has to begin with a letter"),
        ("a" * 42, "longer than 41 characters"),
        ("../up", "cannot be a method's name"),
    ],
)
def test_a_name_that_cannot_be_one_is_one_line(name: str, said: str, here: Command, tmp_path: Path) -> None:
    done = here("new", name)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_new_keeps_what_is_there(here: Command, tmp_path: Path) -> None:
    (tmp_path / "kdbench-mine").mkdir()
    (tmp_path / "kdbench-mine" / "thesis.txt").write_text("years of work")
    done = here("new", "mine")
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "kdbench-mine" / "thesis.txt").read_text() == "years of work"


def test_a_module_of_a_common_name_hides_no_other(here: Command, tmp_path: Path) -> None:
    assert here("new", "random").returncode == 0
    assert (tmp_path / "kdbench-random" / "random_method.py").exists()
    assert 'random = "random_method:Random"' in (tmp_path / "kdbench-random" / "pyproject.toml").read_text()


def test_check_names_what_is_wrong_and_exits_with_1(kdbench: Command, install_plugin: Install) -> None:
    source = code_blocks()["soft_hinge"].replace("margins(student.logits)).mean()", "margins(student.logits)).sum()")
    install_plugin("theirs", {"soft_hinge": "soft_hinge:SoftHinge"}, soft_hinge=source)
    done = kdbench("check", "soft_hinge", "--json")
    assert done.returncode == 1
    [failed] = [row for row in json.loads(done.stdout) if row["outcome"] != "passed"]
    assert failed["check"] == "averages_over_the_batch"
    assert "term 'margin' grows with the batch" in failed["message"]
    assert kdbench("check", "soft_hinges").returncode == 2
    assert "Name a method" in kdbench("check").stderr


def test_checking_all_reports_a_broken_plugin_and_goes_on(
    here: Command, install_plugin: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin("broken", {"aaa_broken": "broken:Nothing"}, broken="1 / 0")
    few = {name: list_plugins()[name] for name in ("aaa_broken", "label_smoothing", "vanilla")}
    monkeypatch.setattr("kdbench.commands.check.list_plugins", lambda: few)
    done = here("check", "--all")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert f"label_smoothing: all {len(NAMES)} checks passed" in done.stdout
    assert f"vanilla: all {len(NAMES)} checks passed" in done.stdout
