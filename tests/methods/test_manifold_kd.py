"""Manifold distillation: which patches are related to which."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kdbench_methods.manifold_kd import ManifoldKD, distance, patches
from tests.methods.small import small_setup


def test_patches_are_directions_of_at_most_14_x_14_positions(random: Any) -> None:
    few, many = patches(random(2, 3, 4, 4)), patches(random(2, 3, 20, 14))
    assert (few.shape, many.shape) == ((2, 16, 3), (2, 196, 3))
    assert torch.allclose(few.norm(dim=2), torch.ones(2, 16, dtype=few.dtype))


def test_relations_do_not_care_for_a_rotation_of_all_patches(random: Any) -> None:
    vectors, rotation = random(2, 5, 4), torch.linalg.qr(random(4, 4, seed=1))[0]
    assert distance(vectors, vectors @ rotation).item() == pytest.approx(0, abs=1e-12)
    assert distance(vectors, vectors.flip(1)).item() > 0.01


@pytest.mark.parametrize(("count", "drawn"), [(10, 4), (3, 3)])
def test_patches_are_drawn_once_each_and_anew(count: int, drawn: int) -> None:
    method = ManifoldKD(ManifoldKD.Params(drawn=4))
    method.build(small_setup())
    draws = [method.draw(count, torch.device("cpu")) for _ in range(5)]
    assert all(len(set(one.tolist())) == drawn and max(one) < count for one in draws)
    assert len({tuple(one.tolist()) for one in draws}) > 1
