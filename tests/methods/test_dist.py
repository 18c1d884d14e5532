"""DIST: Pearson's correlations over classes and over images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench_methods.dist import correlation_losses, pearson


def test_both_correlations_equal_their_golden_values(tensors: dict[str, Tensor]) -> None:
    inter, intra = correlation_losses(tensors["zs"], tensors["zt"], 1.0)
    assert inter.item() == pytest.approx(0.907627761991836, rel=1e-6)
    assert intra.item() == pytest.approx(0.9576715374960747, rel=1e-6)
    assert sum(correlation_losses(tensors["zs"], tensors["zt"], 4.0)).item() == pytest.approx(
        32.12779925740964, rel=1e-6
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 10), st.floats(-5, 5))
def test_correlation_is_numpys_and_sees_neither_shift_nor_scale(seed: int, scale: float, shift: float) -> None:
    a, b = torch.randn(2, 4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert pearson(a, b).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert torch.allclose(pearson(scale * a + shift, b), pearson(a, b), atol=1e-7)


def test_equal_logits_give_zero_but_for_what_is_added_to_the_norms(tensors: dict[str, Tensor]) -> None:
    assert all(0 < loss.item() < 2e-4 for loss in correlation_losses(tensors["zs"], tensors["zs"] + 1, 4.0))


def test_the_order_of_the_batch_does_not_matter(tensors: dict[str, Tensor]) -> None:
    order = torch.tensor([2, 0, 3, 1])
    changed = correlation_losses(tensors["zs"][order], tensors["zt"][order], 4.0)
    assert torch.allclose(torch.stack(changed), torch.stack(correlation_losses(tensors["zs"], tensors["zt"], 4.0)))


def test_a_row_that_hardly_varies_hardly_correlates() -> None:
    row = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    assert pearson(row, 1e-9 * row).item() == pytest.approx(0.3182, abs=1e-3)  # its norms' product is 4.7e-9
    assert pearson(row, torch.ones_like(row)).item() == 0
