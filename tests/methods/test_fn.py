"""FN: the norm of a feature is its temperature."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.fn import FN, normalised


def outputs(role: str, random: Callable[..., Tensor], size: int, seed: int) -> Outputs:
    return Outputs(role, logits=random(size, 3, seed=seed), embedding=3 * random(size, 4, seed=seed + 1))


def test_the_loss_equals_loops_over_images(build: Callable, batch_of: Callable, random: Callable) -> None:
    student, teacher = outputs("student", random, 5, 0), outputs("teacher", random, 5, 2)

    def probabilities(network: Outputs, i: int) -> list[float]:
        length = math.sqrt(sum(v**2 for v in network.embedding[i].tolist()))
        scaled = [z * min(length, 1.5) / length for z in network.logits[i].tolist()]
        return [math.exp(z) / sum(map(math.exp, scaled)) for z in scaled]

    total = 0.0
    for i in range(5):
        p_s, p_t = probabilities(student, i), probabilities(teacher, i)
        total -= sum(t * math.log(s) for s, t in zip(p_s, p_t, strict=True)) / 5
    terms = build(FN, {}, {}, length=1.5, normalised_weight=4.0).loss(batch_of(5), student, teacher)
    assert terms["normalised"].item() == pytest.approx(4 * total, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1, 100))
def test_logits_of_a_linear_classifier_do_not_see_how_long_a_long_feature_is(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    classifier = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    f = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    f = f / f.norm(dim=1, keepdim=True)
    assert torch.allclose(normalised(2 * scale * f @ classifier, 2 * scale * f, 2.0), 2 * f @ classifier)
    assert torch.allclose(normalised(f @ classifier, f, 2.0), f @ classifier)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_the_students_own_logits_are_the_cheapest_in_any_order_of_the_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t, e_s, e_t = torch.randn(4, 6, 5, dtype=torch.float64, generator=generator)
    order = torch.randperm(6, generator=generator)

    def loss(n_s: Tensor, n_t: Tensor) -> float:
        return torch.nn.functional.cross_entropy(n_s, n_t.softmax(dim=1)).item()

    n_s, n_t = normalised(s, e_s, 2.0), normalised(t, e_t, 2.0)
    assert loss(n_t, n_t) <= loss(n_s, n_t)
    assert loss(n_s[order], n_t[order]) == pytest.approx(loss(n_s, n_t), rel=1e-9)


def test_a_feature_of_zeros_has_a_gradient() -> None:
    embedding = torch.zeros(1, 4, requires_grad=True)
    normalised(torch.ones(1, 3, requires_grad=True), embedding, 2.0).square().sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()
