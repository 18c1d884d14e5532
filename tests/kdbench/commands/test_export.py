"""A student taken home runs without kdbench, and says what its record says."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

import kdbench
from kdbench.commands.export import export
from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.records.store import read_cell, weights_name


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of KD and SimKD, a seed each."""
    root = tmp_path_factory.mktemp("export")
    part = {"pairs": ["resnet8:resnet8_w8"], "seeds": 1, "epochs": 2, "device": "cpu", "workers": 1, "quiet": True}
    kdbench.run(["kd", "simkd"], out=root / "runs", **part)
    return root / "runs" / "digits"


def cell(runs: Path, method: str) -> Path:
    [folder] = [path.parent for path in (runs / method).glob("*/record.json")]
    return folder


def run(folder: Path, out: Path | None, **options: Any) -> str:
    said = io.StringIO()
    given = {"onnx": False, "suite_name": None, "force": False, "as_json": False, **options}
    assert export(str(folder), out, console=Console(file=said, width=300), **given) == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def home(runs: Path) -> Path:
    """An export, with ONNX where that is installed."""
    home = runs.parent.parent / "home"
    said = run(cell(runs, "kd"), home, onnx=importlib.util.find_spec("onnxruntime") is not None)
    assert "Checked: the record's classes on 797 test images." in said
    return home


def test_every_form_gives_the_records_predictions(runs: Path, home: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    about = json.loads((home / "model.json").read_text())
    record = read_cell(cell(runs, "kd")).record
    assert (about["key"], about["top1"], about["parameters"]) == (
        record.key,
        record.main.metrics.top1,
        record.main.parameters,
    )
    assert about["bytes"]["model.onnx"] == (home / "model.onnx").stat().st_size
    pixels = torch.rand(5, 1, 8, 8)
    program = torch.export.load(home / "model.pt2").module()(pixels).detach().numpy()
    session = onnxruntime.InferenceSession(str(home / "model.onnx"))
    np.testing.assert_allclose(session.run(None, {"pixels": pixels.numpy()})[0], program, atol=1e-3)
    plain = torch.load(home / "model.pth", weights_only=True)
    stored = load_file(home / "model.safetensors")
    assert plain.keys() == stored.keys()
    assert all(torch.equal(plain[name], stored[name]) for name in plain)


def test_it_loads_without_kdbench(home: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 20, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    code = (
        "import sys, runpy; sys.modules['kdbench'] = None; sys.argv = ['load.py', sys.argv[2]]; "
        f"runpy.run_path({str(home / 'load.py')!r})"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "load.py", tmp_path / "grey.png"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) == 5
    assert len({line.rpartition("  ")[2] for line in lines} & set("0123456789")) == 5  # the names of digits' classes
    assert json.loads((home / "model.json").read_text())["class_names"] == list("0123456789")


def test_a_network_that_a_method_makes_is_named(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="'simkd' deploys a network of its own") as caught:
        run(cell(runs, "simkd"), tmp_path / "home")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_only_an_earlier_export_is_replaced_and_only_by_force(runs: Path, home: Path, tmp_path: Path) -> None:
    source, home = cell(runs, "kd"), Path(shutil.copytree(home, tmp_path / "home"))
    with pytest.raises(KdbenchError, match="exists already"):
        run(source, home)
    (home / "model.pth").unlink()
    run(source, home, force=True)
    assert (home / "model.pth").is_file()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious.txt").touch()
    with pytest.raises(KdbenchError, match="is no earlier export"):
        run(source, mine, force=True)
    assert (mine / "precious.txt").exists()


def test_other_weights_than_the_records_are_noticed(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "digits" / "kd" / cell(runs, "kd").name
    shutil.copytree(cell(runs, "kd"), folder)
    [path] = folder.glob("resnet8_w8-*.safetensors")
    weights = load_file(path)
    last = [name for name, value in weights.items() if value.ndim == 2][-1]
    save_file({**weights, last: -weights[last]}, path)
    with pytest.raises(KdbenchError, match="is corrupt"):
        run(folder, tmp_path / "home")
    path.rename(folder / weights_name("resnet8_w8", file_sha256(path)))
    with pytest.raises(KdbenchError, match="other classes than the record"):
        run(folder, tmp_path / "home")
    assert not list(tmp_path.glob("*home*"))


@pytest.mark.parametrize("what", ["results/digits/kd/records.jsonl", "nowhere", "runs/digits/kd/0123456789abcdef"])
def test_what_is_no_trained_cell_is_a_mistake(what: str, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="no folder of a trained cell"):
        run(tmp_path / what, None)
