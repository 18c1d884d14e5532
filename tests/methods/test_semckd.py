"""SemCKD equals loops over images and layers, and takes batches of any size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Outputs
from kdbench_methods.parts.layers import same_size
from kdbench_methods.semckd import SemCKD

SHAPES = {"features": ((4, 7, 7), (5, 1, 1))}, {"features": ((3, 4, 4), (6, 4, 4))}


def outputs(role: str, random: Callable[..., Tensor], shapes: dict, size: int, seed: int) -> Outputs:
    maps = [random(size, *shape, seed=seed + i).requires_grad_() for i, shape in enumerate(shapes["features"])]
    return Outputs(role, logits=random(size, 3, seed=seed + 9), features=maps)


def pair(random: Callable[..., Tensor], size: int) -> tuple[Outputs, Outputs]:
    return outputs("student", random, SHAPES[0], size, 0), outputs("teacher", random, SHAPES[1], size, 20)


@pytest.mark.parametrize("size", [5, 8])
def test_the_loss_equals_loops_over_images_and_layers(
    size: int, build: Callable, batch_of: Callable, random: Callable
) -> None:
    method = build(SemCKD, *SHAPES, map_weight=3.0)
    student, teacher = pair(random, size)

    def row(feature: Tensor, i: int) -> Tensor:
        """Products of image i with those of the batch, of at most eight; 0 where it is shorter."""
        products = torch.zeros(8, dtype=torch.float64)
        for j in range(size):
            products[j] = (feature[i] * feature[j]).sum()
        return products

    total = 0.0
    for i in range(size):
        for s, f_s in enumerate(student.features):
            query = F.normalize(method.query[s](row(f_s, i)), dim=0)
            keys = [F.normalize(method.key[t](row(f_t, i)), dim=0) for t, f_t in enumerate(teacher.features)]
            attention = torch.stack([query @ key for key in keys]).softmax(dim=0)
            for t, f_t in enumerate(teacher.features):
                small_s, small_t = same_size(f_s, f_t)
                gap = method.projections[s][t](small_s)[i] - small_t[i]
                total += (attention[t] * gap.square().mean()).item() / size / 2
    terms = method.loss(batch_of(size), student, teacher)
    assert terms["map"].item() == pytest.approx(3 * total, rel=1e-9)
    assert set(terms) == {"ce", "kd", "map"}


@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_parameter_learns_from_any_batch(
    size: int, build: Callable, batch_of: Callable, random: Callable
) -> None:
    method = build(SemCKD, *SHAPES)
    student, teacher = pair(random, size)
    method.loss(batch_of(size), student, teacher)["map"].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert size == 1 or parameter.grad.any(), name
    assert all(f.grad is not None and f.grad.isfinite().all() for f in student.features)
