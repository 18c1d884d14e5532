"""What is wrong with a request is said before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from kdbench.cli.app import main; main()"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "-m", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
        (["run", "-m", "crd", "--suite", "nope"], "Unknown suite 'nope'."),
        (["run", "-m", "crd", "--pair", "x:y"], "Suite 'digits' has no pair 'x:y' (--pair)."),
        (["run", "-m", "crd", "--seeds", "many"], "--seeds many: give how many (5), or which ones (0,1,2)."),
        (["run", "-m", "crd", "--workers", "0"], "--workers 0: give a number of processes, 1 or more, or auto."),
        (["run", "-m", "crd", "--device", "tpu"], "Unknown device 'tpu' (--device)."),
        (["run", "-m", "crd", "--set", "dim"], "--set dim: write name=value, such as --set temperature=2."),
        (["run", "-m", "crd", "--out", __file__], f"--out {__file__}: {__file__} is no folder."),
        (["collect", ".", "--out", f"{__file__}/x"], f"--out {__file__}/x: {__file__} is no folder."),
        (["show", "model", "resnet8", "--input", "100000"], "--input 100000: 2048 is the most."),
        (["tune", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
        (["tune", "crd", "--space", "dim=int:1"], "--space dim=int:1: write its two ends, int:1..8."),
        (["cost", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
        (["check", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
        (["show", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
    ],
)
def test_a_wrong_name_is_one_line_where_torch_cannot_be_imported(arguments: list[str], said: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"kdbench: {said}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
