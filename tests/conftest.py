"""Fixtures that several tests share: the golden inputs, a small suite, the command line, a plugin on the path."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in cells; two threads on two busy cores wait for each other

import numpy as np
import pytest
import torch
from torch import Tensor

from kdbench.cli.app import main
from kdbench.running import engines
from kdbench.suite import Suite
from kdbench.suites import SUITES, load_suite
from tests.distilled import Ran, train

if TYPE_CHECKING:
    from kdbench.running.engines.events import Event, Machine
    from kdbench.running.plan import Cell


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers that tests train stay in a folder of the test session."""
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def digits() -> Suite:
    return load_suite("digits")


@pytest.fixture
def small_suite(tmp_path: Path) -> Path:
    """A suite file on the real digits, with one pair, two seeds and few epochs."""
    text = (SUITES / "digits.toml").read_text()
    text = text.replace('name = "digits"', 'name = "small"').replace("seeds = 5", "seeds = 2")
    text = text.replace("epochs = 60", "epochs = 4", 1).replace("epochs = 60", "epochs = 2")
    text = text.replace("[models]\n", '[models]\nresnet8_w2 = { name = "digits_resnet8_w2" }\n')
    text = re.sub(r"\nteachers_each = .*", "", text)
    text = re.sub(r"(?s)\npairs = \[.*?\n\]", '\npairs = ["resnet8:resnet8_w2"]', text)
    text = re.sub(r"(?s)\n\[teams\].*?\n(?=\[assistants\])", "\n", text)
    between = '"resnet8:resnet8_w2" = ["resnet8_w8", "resnet8_w4"]'
    text = re.sub(r"(?s)(\n\[assistants\]).*?\n(?=\[)", rf"\1\n{between}\n", text)
    text = re.sub(r"(?s)\n\[methods\].*?\n(?=\[methods\.)", "\n", text)  # weights are the papers'
    text = re.sub(r"(?s)\n\[statistics\].*?\n(?=\[data\])", "\n", text)  # of 60 epochs on all pairs
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The cells of methods that distil data on a small suite, trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return train(tmp_path_factory.mktemp("distilled"))


def golden(shape: list[int], a: float, b: float) -> Tensor:
    """The closed-form tensors that the reference losses were computed on."""
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    return torch.from_numpy((2 * np.sin(a * i + b) + 0.5 * np.cos(0.37 * a * i * i + b)).reshape(shape))


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    """Golden inputs: logits zs, zt; embeddings es, et; labels."""
    return {
        "zs": golden([4, 10], 0.7, 0.1),
        "zt": golden([4, 10], 0.9, 0.5),
        "es": golden([4, 16], 0.3, 0.2),
        "et": golden([4, 16], 0.5, 0.9),
        "labels": torch.tensor([0, 3, 7, 9]),
    }


@pytest.fixture
def maps() -> tuple[list[Tensor], list[Tensor]]:
    """Golden feature maps of student and teacher, at 8x8, 4x4 and 2x2."""
    shapes = [[4, 8, 8, 8], [4, 16, 4, 4], [4, 32, 2, 2]]
    student = [golden(s, a, b) for s, a, b in zip(shapes, (0.11, 0.13, 0.17), (0.3, 0.4, 0.5), strict=True)]
    teacher = [golden(s, a, b) for s, a, b in zip(shapes, (0.19, 0.23, 0.29), (0.6, 0.7, 0.8), strict=True)]
    return student, teacher


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kdbench(tmp_path: Path) -> Command:
    """Runs the command line in an empty folder and returns its exit code and output."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kdbench", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "100", **environment},
            capture_output=True,
            text=True,
            timeout=1000,
            check=False,
        )

    return run


@pytest.fixture
def cells_here(monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    """Cells are trained in this process, one after the other; the students' among them, in their order."""
    from kdbench.running.engines.work import run_reporting

    cells: list[Cell] = []

    def execute(todo: Sequence[Cell], root: Path, machine: Machine) -> Generator[Event, None, None]:
        for cell in todo:
            if not machine.limit.suffices():
                return
            seen: list[Event] = []
            run_reporting(
                cell, root, torch.device("cpu"), machine.execution, seen.append, machine.limit, machine.stored
            )
            cells.extend([cell] * (not cell.is_teacher))
            yield from seen

    module = ModuleType("here")
    module.__dict__["execute"] = execute
    monkeypatch.setitem(sys.modules, "here", module)
    monkeypatch.setitem(engines.ENGINES, "local", "here:execute")
    return cells


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells_here: list[Cell]) -> Command:
    """As `kdbench`, in this process: half a minute less where the process itself is not what is tested."""

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        said, errors = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(said), redirect_stderr(errors):
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", ["kdbench", *map(str, arguments)])
            for name, value in {
                "KDBENCH_DATA": os.environ.get("KDBENCH_DATA", ""),
                "COLUMNS": "100",
                **environment,
            }.items():
                patch.setenv(name, value)  # the first is set by `--data-dir`, and is as it was afterwards
            with pytest.raises(SystemExit) as stopped:
                main()
        code = stopped.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(sys.argv, code, said.getvalue(), errors.getvalue())

    return run


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a distribution with entry points on the path of this process and of the commands it starts."""

    def install(
        distribution: str, entry_points: dict[str, str], group: str = "kdbench.methods", **modules: str
    ) -> Path:
        site = tmp_path / f"site-{distribution}"
        info = site / f"{distribution}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {target}\n" for name, target in entry_points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        for name, source in modules.items():
            (site / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        path = os.environ.get("PYTHONPATH", "")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *([path] if path else [])]))
        return site

    return install


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-100 in the folder that `KDBENCH_DATA` names; skipped where there is none."""
    if not Path(os.environ.get("KDBENCH_DATA", "nowhere"), "cifar100").is_dir():
        pytest.skip("KDBENCH_DATA names no folder with cifar100")
    monkeypatch.setenv("KDBENCH_CACHE", os.environ.get("KDBENCH_TEST_CACHE", os.environ["KDBENCH_CACHE"]))
