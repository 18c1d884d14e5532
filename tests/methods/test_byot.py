"""BYOT: heads on shallower maps, taught by the deepest."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import NotApplicable, Outputs
from kdbench_methods.byot import BYOT, hint_loss
from kdbench_methods.kd import kd_loss

SHAPES = {"features": ((4, 8, 8), (6, 4, 4), (7, 2, 2)), "embedding": 12}


def outputs(random: Callable[..., Tensor], size: int) -> Outputs:
    maps = [random(size, *shape, seed=i).requires_grad_() for i, shape in enumerate(SHAPES["features"])]
    logits, embedding = (random(size, width, seed=9 + width).requires_grad_() for width in (3, 12))
    return Outputs("student", logits=logits, embedding=embedding, features=maps)


def test_the_loss_is_a_sum_over_the_shallower_maps(build: Callable, batch_of: Callable, random: Callable) -> None:
    method, student, batch = build(BYOT, SHAPES, {}), outputs(random, 5), batch_of(5)
    terms = method.loss(batch, student, Outputs("teacher"))
    ce = kd = hint = 0.0
    for head, feature in zip(method.heads, student.features, strict=False):
        z, e = head(feature)
        ce += F.cross_entropy(z, batch.labels).item()
        kd += kd_loss(z, student.logits, 3.0).item()
        for row, target in zip(e, student.embedding, strict=True):
            for a, b in zip(row.tolist(), target.tolist(), strict=True):
                hint += (a - b) ** 2 / 5 if a > 0 or b > 0 else 0.0
    assert len(method.heads) == 2
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(student.logits, batch.labels).item())
    assert terms["head_ce"].item() == pytest.approx(0.9 * ce)
    assert terms["head_kd"].item() == pytest.approx(0.1 * kd)
    assert terms["hint"].item() == pytest.approx(1e-6 * 128 * hint, rel=1e-9)


def test_the_deepest_head_teaches_and_is_not_taught(build: Callable, batch_of: Callable, random: Callable) -> None:
    method, student = build(BYOT, SHAPES, {}), outputs(random, 5)
    terms = method.loss(batch_of(5), student, Outputs("teacher"))
    (terms["head_ce"] + terms["head_kd"] + terms["hint"]).backward()
    assert student.logits.grad is None
    assert student.embedding.grad is None
    assert student.features[-1].grad is None
    assert all(feature.grad.any() for feature in student.features[:-1])
    assert all(p.grad is not None for p in method.parameters())


@pytest.mark.parametrize("size", [1, 3])
def test_heads_take_any_batch_and_any_size_of_map(size: int, build: Callable, random: Callable) -> None:
    method = build(BYOT, {"features": ((4, 7, 6), (6, 3, 3), (7, 1, 1)), "embedding": 2}, {})
    for head, shape in zip(method.heads, ((4, 7, 6), (6, 3, 3)), strict=True):
        logits, embedding = head(random(size, *shape))
        assert logits.shape == (size, 3)
        assert embedding.shape == (size, 2)
        assert logits.isfinite().all()


def test_equal_embeddings_have_no_distance_and_negative_ones_do_not_count(random: Callable) -> None:
    e = random(4, 6)
    assert hint_loss(e, e).item() == 0
    assert hint_loss(-e.abs(), -2 * e.abs()).item() == 0
    assert hint_loss(torch.tensor([[1.0, -1.0]]), torch.tensor([[-1.0, -3.0]])).item() == 4.0


def test_each_head_and_the_ensemble_are_recorded(build: Callable, random: Callable) -> None:
    method, student = build(BYOT, SHAPES, {}).eval(), outputs(random, 5)
    networks = method.networks(nn.Identity(), lambda images: student)
    assert list(networks) == ["head 1", "head 2", "ensemble"]
    logits = [head(feature)[0] for head, feature in zip(method.heads, student.features, strict=False)]
    images = torch.zeros(5, 1, 8, 8)
    assert torch.equal(networks["head 1"](images), logits[0])
    assert torch.equal(networks["head 2"](images), logits[1])
    assert torch.allclose(networks["ensemble"](images), (logits[0] + logits[1] + student.logits) / 3)


def test_a_student_with_one_map_is_declined(build: Callable) -> None:
    with pytest.raises(NotApplicable, match="single feature map"):
        build(BYOT, {"features": ((4, 2, 2),), "embedding": 3}, {})
