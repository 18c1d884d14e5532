"""OFD: margins are means of negative values over all batches, and distances are partial."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.ofd import OFD
from kdbench_methods.parts.margins import partial_distance

SHAPES = {"pre_activations": ((4, 7, 7), (5, 2, 2))}, {"pre_activations": ((3, 4, 4), (6, 4, 4))}


def pair(random: Callable[..., Tensor], size: int) -> tuple[Outputs, Outputs]:
    networks = []
    for role, shapes, seed in zip(("student", "teacher"), SHAPES, (0, 20), strict=True):
        maps = [random(size, *s, seed=seed + i).requires_grad_() for i, s in enumerate(shapes["pre_activations"])]
        networks.append(Outputs(role, logits=random(size, 3, seed=seed + 9), pre_activations=maps))
    return networks[0], networks[1]


def naive_distance(student: Tensor, target: Tensor) -> float:
    total = 0.0
    for s, t in zip(student.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += 0 if s <= t <= 0 else (t - s) ** 2
    return total / len(target)


def test_a_margin_is_the_mean_of_what_was_negative_in_all_batches(build: Callable, random: Callable) -> None:
    method, seen = build(OFD, *SHAPES), [random(4, 3, 2, 2, seed=i) for i in range(3)]
    seen = [
        f + torch.tensor([0.0, -1.0, 100.0], dtype=torch.float64)[:, None, None] for f in seen
    ]  # one never negative
    for count in range(1, 4):
        values = torch.cat(seen[:count]).transpose(0, 1).flatten(1)
        expected = [v[v < 0].mean().item() if (v < 0).any() else 0.0 for v in values]
        assert method.margin(0, seen[count - 1]).flatten().tolist() == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_the_partial_distance_equals_loops_in_any_order_of_the_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64, generator=generator)
    order = torch.randperm(5, generator=generator)
    assert partial_distance(s, t).item() == pytest.approx(naive_distance(s, t), rel=1e-9)
    assert partial_distance(s[order], t[order]).item() == pytest.approx(partial_distance(s, t).item(), rel=1e-9)
    assert partial_distance(t, t).item() == 0
    assert partial_distance(t.clamp(max=0) - 1, t.clamp(max=0)).item() == 0


def test_the_loss_halves_from_layer_to_layer(build: Callable, batch_of: Callable, random: Callable) -> None:
    method = build(OFD, *SHAPES, map_weight=0.5)
    student, teacher = pair(random, 5)
    (s0, s1), (t0, t1) = student.pre_activations, teacher.pre_activations

    def margins(feature: Tensor) -> Tensor:
        return torch.stack([channel[channel < 0].mean() for channel in feature.transpose(0, 1)])[:, None, None]

    pool = torch.nn.functional.adaptive_avg_pool2d
    first = naive_distance(method.connectors[0](s0), pool(t0, 7).maximum(margins(t0)))
    second = naive_distance(method.connectors[1](s1), pool(t1, 2).maximum(margins(t1)))
    terms = method.loss(batch_of(5), student, teacher)
    assert terms["map"].item() == pytest.approx(0.5 * (first / 2 + second), rel=1e-9)


@pytest.mark.parametrize("size", [1, 3])
def test_every_parameter_learns_from_any_batch(
    size: int, build: Callable, batch_of: Callable, random: Callable
) -> None:
    method = build(OFD, *SHAPES)
    student, teacher = pair(random, size)
    method.loss(batch_of(size), student, teacher)["map"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
