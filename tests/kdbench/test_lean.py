"""A process that plans has not imported what only training needs; what was put off works when it is asked for."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import kdbench.running.cell, kdbench.running.engines.local
from kdbench.records.reader import Reader
from kdbench.suites import SUITES
assert Reader().contents(SUITES / "digits" / "teachers").evidence
print(*[name for name in ("torch._dynamo", "torch._dynamo.utils", "pandas", "mlflow", "sklearn", "scipy", "datasets")
        if name in sys.modules])
import torch
from torchvision.ops import roi_align
roi_align(torch.rand(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]]), 2)
import torch._dynamo
assert torch._dynamo.utils.__file__
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


def test_neither_the_compiler_nor_pandas_is_imported_before_something_trains() -> None:
    shown = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300, check=False)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == []
