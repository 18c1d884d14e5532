"""Logit standardisation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench_methods.kd import kd_loss
from kdbench_methods.kd_ls import standardise


def test_kd_of_standardised_logits_equals_its_golden_value(tensors: dict[str, Tensor]) -> None:
    loss = kd_loss(standardise(tensors["zs"]), standardise(tensors["zt"]), 2.0)
    assert loss.item() == pytest.approx(0.867118032766657, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 20), st.floats(-10, 10))
def test_it_sees_neither_shift_nor_scale_of_an_images_logits(seed: int, scale: float, shift: float) -> None:
    logits = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(standardise(scale * logits + shift), standardise(logits), atol=1e-5)


def test_rows_have_mean_zero_and_deviation_one(tensors: dict[str, Tensor]) -> None:
    standard = standardise(tensors["zs"])
    assert torch.allclose(standard.mean(dim=1), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(standard.std(dim=1), torch.ones(4, dtype=torch.float64), atol=1e-6)
