"""What methods add to the student begins and trains as in the sources they follow."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from kdbench.plugins import load_method
from kdbench.suites import load_suite
from kdbench_methods.byot import Head
from kdbench_methods.parts.branches import Branch


@pytest.mark.parametrize(
    "added", [Branch((32, 8, 8), (64, 4, 4), 10), Head((32, 8, 8), (64, 4, 4), 256, 10)], ids=["branch", "head"]
)
def test_convolutions_begin_as_a_resnets_by_their_outputs(added: nn.Module) -> None:
    convolutions = [module for module in added.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 3
    for conv in convolutions:
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


@pytest.mark.parametrize("name", ["pad_l2", "tinymim", "sskd"])
def test_a_first_stage_has_the_recipes_whole_schedule(name: str, monkeypatch: Any) -> None:
    cls = load_method(name)
    method = cls(cls.Params())
    monkeypatch.setattr(method, "epochs", load_suite("cifar100").recipe.epochs, raising=False)
    (first,) = method.stages()
    assert first.rescaled
