"""NST equals the original implementation and loops from the paper, and is a discrepancy of distributions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.nst import NST, discrepancy

SEEDS = st.integers(0, 2**31)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_discrepancies_equal_their_golden_value(maps: tuple[list[Tensor], list[Tensor]]) -> None:
    total = sum(discrepancy(s, t).item() for s, t in zip(*maps, strict=True))
    assert total == pytest.approx(1.0691103739492567, rel=1e-6)


def test_the_discrepancy_equals_loops_over_channels() -> None:
    s, t = drawn(0, 2, 3, 2, 2), drawn(1, 2, 4, 2, 2)

    def mean_kernel(x: Tensor, y: Tensor) -> float:
        values = [
            (sum(p * q for p, q in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) ** 2)
            / (a.square().sum() * b.square().sum()).item()
            for a in x
            for b in y
        ]
        return sum(values) / len(values)

    images = [mean_kernel(i, i) + mean_kernel(j, j) - 2 * mean_kernel(i, j) for i, j in zip(s, t, strict=True)]
    assert discrepancy(s, t).item() == pytest.approx(sum(images) / 2, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_it_is_zero_for_equal_channels_in_any_order_and_at_any_scale_and_positive_otherwise(seed: int) -> None:
    s, t = drawn(seed, 3, 5, 3, 3), drawn(seed + 1, 3, 4, 3, 3)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert discrepancy(-3 * s[:, order], s).abs().item() < 1e-12
    assert discrepancy(s, t).item() > 0


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_it_does_not_depend_on_the_order_of_the_batch(seed: int) -> None:
    s, t = drawn(seed, 6, 5, 3, 3), drawn(seed + 1, 6, 4, 3, 3)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert discrepancy(s[order], t[order]).item() == pytest.approx(discrepancy(s, t).item(), rel=1e-9)


def test_maps_of_any_sizes_and_a_dead_channel_have_a_loss(build: Callable, batch_of: Callable) -> None:
    method = build(NST, {}, {}, selectivity_weight=2.0)
    maps = [drawn(0, 1, 4, 7, 7), torch.zeros(1, 6, 1, 1, dtype=torch.float64)]
    student = Outputs("student", logits=drawn(2, 1, 3), features=[m.requires_grad_() for m in maps])
    teacher = Outputs("teacher", features=[drawn(3, 1, 5, 4, 4), drawn(4, 1, 5, 2, 2)])
    terms = method.loss(batch_of(1), student, teacher)
    terms["selectivity"].backward()
    pairs = zip(student.features, teacher.features, strict=True)
    assert terms["selectivity"].item() == pytest.approx(2 * sum(discrepancy(s, t).item() for s, t in pairs))
    assert all(m.grad is not None and m.grad.isfinite().all() for m in maps)
