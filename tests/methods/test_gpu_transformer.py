"""Every method trains a transformer student on a simulated GPU as it does on the CPU, eager and captured."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.tables import Pair
from tests.distilled import TEACHING
from tests.methods.gpu_trainings import assert_trains_alike


@pytest.mark.parametrize("method", TEACHING)
def test_a_method_trains_as_on_the_cpu(method: str, tmp_path: Path) -> None:
    assert_trains_alike(method, Pair(teacher="resnet8", student="vit_w32"), tmp_path)
