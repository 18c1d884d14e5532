"""AFD equals loops over images and layers; its attention is a distribution over the student's maps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.afd import AFD, attention_distances

SHAPES = {"features": ((4, 7, 7), (5, 2, 2), (6, 1, 1))}, {"features": ((3, 4, 4), (6, 4, 4))}


def outputs(role: str, random: Callable[..., Tensor], shapes: dict, size: int, seed: int) -> Outputs:
    maps = [random(size, *shape, seed=seed + i).requires_grad_() for i, shape in enumerate(shapes["features"])]
    return Outputs(role, logits=random(size, 3, seed=seed + 9), features=maps)


def pair(random: Callable[..., Tensor], size: int) -> tuple[Outputs, Outputs]:
    return outputs("student", random, SHAPES[0], size, 0), outputs("teacher", random, SHAPES[1], size, 20)


def test_the_loss_equals_loops_over_images_and_layers(build: Callable, batch_of: Callable, random: Callable) -> None:
    size, dim = 5, 8
    method = build(AFD, *SHAPES, dim=dim, attention_weight=3.0)
    student, teacher = pair(random, size)
    keys = [key(f.mean(dim=(2, 3))).relu() for key, f in zip(method.key, student.features, strict=True)]
    queries = [query(f.mean(dim=(2, 3))) for query, f in zip(method.query, teacher.features, strict=True)]
    rows = torch.stack([keys[s][i] for i in range(size) for s in range(3)])  # batch norm sees all maps of all images
    rows = method.bilinear(rows)
    distances = attention_distances(student.features, teacher.features)
    total = 0.0
    for i in range(size):
        for t in range(2):
            scores = [
                rows[3 * i + s, t * dim : (t + 1) * dim] @ queries[t][i] + method.position_t[t] @ method.position_s[s]
                for s in range(3)
            ]
            attention = (torch.stack(scores) / dim**0.5).softmax(dim=0)
            for s in range(3):
                total += (attention[s] * distances[i, t, s]).item() / size
    terms = method.loss(batch_of(size), student, teacher)
    assert terms["attended"].item() == pytest.approx(3 * total, rel=1e-9)
    assert set(terms) == {"ce", "kd", "attended"}


def test_attention_is_a_distribution_over_the_students_maps(build: Callable, random: Callable) -> None:
    method = build(AFD, *SHAPES)
    student, teacher = pair(random, 4)
    attention = method.attention(student.features, teacher.features)
    assert attention.shape == (4, 2, 3)
    assert torch.allclose(attention.sum(dim=2), torch.ones(4, 2, dtype=torch.float64))
    assert attention.min() > 0


@pytest.mark.parametrize("size", [1, 3])
def test_every_parameter_learns_from_any_batch(
    size: int, build: Callable, batch_of: Callable, random: Callable
) -> None:
    method = build(AFD, *SHAPES)
    student, teacher = pair(random, size)
    method.loss(batch_of(size), student, teacher)["attended"].backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert size == 1 or parameter.grad.any(), name
