"""ReviewKD: the golden context loss, fusions of any sizes, and a weight that grows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.reviewkd import ReviewKD, context_loss

MAPS = ((4, 7, 7), (5, 3, 3)), ((3, 4, 4), (8, 4, 4))
SHAPES = {"embedding": 6, "features": MAPS[0]}, {"embedding": 9, "features": MAPS[1], "pre_activations": MAPS[1]}


def outputs(role: str, random: Callable[..., Tensor], shapes: dict, size: int) -> Outputs:
    maps = [random(size, *shape, seed=i).requires_grad_() for i, shape in enumerate(shapes["features"])]
    embedding = random(size, shapes["embedding"], seed=7).requires_grad_()
    made = {"logits": random(size, 3, seed=8).requires_grad_(), "embedding": embedding}
    if role == "student":
        return Outputs(role, **made, features=maps)
    return Outputs(role, **made, features=[f.relu() for f in maps], pre_activations=maps)


def test_the_context_losses_equal_their_golden_value(maps: tuple[list[Tensor], list[Tensor]]) -> None:
    total = sum(context_loss(s, t).item() for s, t in zip(*maps, strict=True))
    assert total == pytest.approx(10.779157592644085, rel=1e-6)


def test_the_context_loss_equals_loops_over_cells(random: Callable[..., Tensor]) -> None:
    s, t = random(2, 3, 4, 4), random(2, 3, 4, 4, seed=1)
    gap, total = s - t, 0.0
    for cells, weight in ((4, 1), (2, 1 / 2), (1, 1 / 4)):
        edge = 4 // cells
        squares = [
            gap[b, c, y * edge : (y + 1) * edge, x * edge : (x + 1) * edge].mean().item() ** 2
            for b in range(2)
            for c in range(3)
            for y in range(cells)
            for x in range(cells)
        ]
        total += weight * sum(squares) / len(squares)
    assert context_loss(s, t).item() == pytest.approx(total / 1.75, rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_the_context_loss_is_a_distance_blind_to_the_order_of_the_batch(seed: int, edge: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t = torch.randn(2, 5, 3, edge, edge, dtype=torch.float64, generator=generator)
    order = torch.randperm(5, generator=generator)
    assert context_loss(s, s).item() == 0
    assert context_loss(s, t).item() == pytest.approx(context_loss(t, s).item())
    assert context_loss(s[order], t[order]).item() == pytest.approx(context_loss(s, t).item(), rel=1e-9)


def test_the_review_goes_from_deep_to_shallow(build: Callable, batch_of: Callable, random: Callable) -> None:
    method = build(ReviewKD, *SHAPES, review_weight=2.0, warm_up_epochs=4)
    student, teacher = (outputs(role, random, s, 5) for role, s in zip(("student", "teacher"), SHAPES, strict=True))
    s0, s1, s2 = *student.features, student.embedding[:, :, None, None]
    t0, t1, t2 = *teacher.pre_activations, teacher.embedding[:, :, None, None]
    f0, f1, f2 = method.fusions

    def fused(fusion: torch.nn.Module, feature: Tensor, deeper: Tensor, size: tuple[int, int]) -> Tensor:
        x, y = fusion.reduce(feature), F.interpolate(deeper, feature.shape[2:])
        weights = torch.sigmoid(fusion.attend[0](torch.cat([x, y], 1)))
        return F.interpolate(weights[:, 0:1] * x + weights[:, 1:2] * y, size)

    r2 = f2.reduce(s2)
    r1 = fused(f1, s1, r2, (4, 4))
    r0 = fused(f0, s0, r1, (4, 4))
    expected = sum(context_loss(f.expand(r), t) for f, r, t in ((f0, r0, t0), (f1, r1, t1), (f2, r2, t2))).item()
    for epoch, part in ((0, 0.25), (1, 0.5), (3, 1), (9, 1)):
        term = method.loss(batch_of(5, epoch), student, teacher)["review"]
        assert term.item() == pytest.approx(2 * part * expected, rel=1e-9)


@pytest.mark.parametrize("size", [1, 3])
def test_every_parameter_learns_from_any_batch(
    size: int, build: Callable, batch_of: Callable, random: Callable
) -> None:
    method = build(ReviewKD, *SHAPES)
    student, teacher = (outputs(role, random, s, size) for role, s in zip(("student", "teacher"), SHAPES, strict=True))
    method.loss(batch_of(size), student, teacher)["review"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert size == 1 or parameter.grad.any(), name
    assert all(f.grad is not None and f.grad.any() for f in student.features)
