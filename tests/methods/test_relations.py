"""SP, RKD, PKT, CC, IRG and ICKD: relations between the images of a batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench_methods.cc import correlation_loss
from kdbench_methods.ickd import channel_loss
from kdbench_methods.irg import graph, graph_loss
from kdbench_methods.pkt import neighbour_loss
from kdbench_methods.rkd import angles, distances
from kdbench_methods.sp import similarity_loss

Maps = tuple[list[Tensor], list[Tensor]]
SEEDS = st.integers(0, 2**31)


def rkd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    distance = F.smooth_l1_loss(distances(student), distances(teacher))
    return 25 * distance + 50 * F.smooth_l1_loss(angles(student), angles(teacher))


LOSSES = pytest.mark.parametrize("loss", [similarity_loss, rkd_loss, neighbour_loss])


def embeddings(seed: int, count: int = 2, rows: int = 6, dim: int = 5) -> Tensor:
    return torch.randn(count, rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_similarity_equals_its_golden_value(maps: Maps) -> None:
    assert similarity_loss(maps[0][-1], maps[1][-1]).item() == pytest.approx(0.4320038063578131, rel=1e-6)


def test_rkd_equals_its_golden_values(tensors: dict[str, Tensor]) -> None:
    s, t = tensors["es"], tensors["et"]
    assert F.smooth_l1_loss(distances(s), distances(t)).item() == pytest.approx(0.005702848969454619, rel=1e-6)
    assert F.smooth_l1_loss(angles(s), angles(t)).item() == pytest.approx(0.005264732603479753, rel=1e-6)
    assert rkd_loss(s, t).item() == pytest.approx(0.40580785441035316, rel=1e-6)


def test_neighbours_equal_their_golden_value(tensors: dict[str, Tensor]) -> None:
    assert neighbour_loss(tensors["es"], tensors["et"]).item() == pytest.approx(0.004592361841550598, rel=1e-6)


@LOSSES
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_equal_relations_cost_nothing_and_others_something(loss: Callable[[Tensor, Tensor], Tensor], seed: int) -> None:
    s, t = embeddings(seed)
    assert loss(t, t).abs().item() < 1e-9
    assert loss(s, t).item() > 0


@LOSSES
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, scale=st.floats(0.1, 10))
def test_rotation_and_scale_of_all_embeddings_are_not_seen(
    loss: Callable[[Tensor, Tensor], Tensor], seed: int, scale: float
) -> None:
    s, t = embeddings(seed)
    rotation, _ = torch.linalg.qr(embeddings(seed + 1, 1, 5, 5)[0])
    assert loss(scale * s @ rotation, t).item() == pytest.approx(loss(s, t).item(), rel=1e-5, abs=1e-9)


@LOSSES
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_order_of_the_batch_is_not_seen(loss: Callable[[Tensor, Tensor], Tensor], seed: int) -> None:
    s, t = embeddings(seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    assert loss(s[order], t[order]).item() == pytest.approx(loss(s, t).item(), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_distances_and_angles_do_not_see_translation(seed: int) -> None:
    s, shift = embeddings(seed)
    assert torch.allclose(distances(s + shift[0]), distances(s), atol=1e-6)
    assert torch.allclose(angles(s + shift[0]), angles(s), atol=1e-6)


def test_neighbours_do_not_see_the_length_of_one_embedding(tensors: dict[str, Tensor]) -> None:
    stretched = tensors["es"] * torch.tensor([[1.0], [2.0], [0.5], [7.0]], dtype=torch.float64)
    expected = neighbour_loss(tensors["es"], tensors["et"]).item()
    assert neighbour_loss(stretched, tensors["et"]).item() == pytest.approx(expected, rel=1e-6)


@LOSSES
def test_equal_images_and_zero_embeddings_give_finite_gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    student = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    loss(student, torch.rand(3, 2)).backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_correlation_congruence_equals_its_golden_value(tensors: dict[str, Tensor]) -> None:
    assert correlation_loss(tensors["es"], tensors["et"]).item() == pytest.approx(46.29105580896303, rel=1e-6)


def test_correlation_congruence_equals_loops_and_takes_one_image(tensors: dict[str, Tensor]) -> None:
    s, t = tensors["es"].tolist(), tensors["et"].tolist()
    naive = 0.0
    for i in range(3):
        for a, b, c, d in zip(s[i], t[i], s[i + 1], t[i + 1], strict=True):
            naive += abs((a - b) * (c - d)) / 3
    assert correlation_loss(tensors["es"], tensors["et"]).item() == pytest.approx(naive)
    assert correlation_loss(tensors["es"][:1], tensors["et"][:1]).item() == 0


def test_the_instance_graph_equals_loops(tensors: dict[str, Tensor]) -> None:
    def edges(embedding: Tensor) -> list[list[float]]:
        rows = embedding.tolist()
        squared = [[sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
        largest = max(map(max, squared))
        return [[value / largest for value in row] for row in squared]

    s, t = edges(tensors["es"]), edges(tensors["et"])
    naive = sum((s[i][j] - t[i][j]) ** 2 for i in range(4) for j in range(4)) / 8
    assert graph_loss(tensors["es"], tensors["et"]).item() == pytest.approx(naive)


def test_the_instance_graphs_gradient_is_the_authors_half_of_the_true_one(tensors: dict[str, Tensor]) -> None:
    s, t = tensors["es"].requires_grad_(), tensors["et"]
    (found,) = torch.autograd.grad(graph_loss(s, t), s)
    pairs = (s[:, None] - s).square().sum(dim=2)
    (true,) = torch.autograd.grad((pairs / pairs.detach().max() - graph(t)).square().sum() / 8, s)
    assert torch.allclose(found, true / 2)


def test_channel_correlations_equal_loops(maps: Maps) -> None:
    student, teacher = maps[0][1], maps[1][1]
    naive = 0.0
    for image in range(4):
        for f_s, f_t in [(student[image].flatten(1), teacher[image].flatten(1))]:
            for c in range(16):
                row_s = torch.stack([f_s[c] @ f_s[d] for d in range(16)])
                row_t = torch.stack([f_t[c] @ f_t[d] for d in range(16)])
                naive += (row_s / row_s.norm() - row_t / row_t.norm()).square().sum().item() / 16 / 4
    assert channel_loss(student, teacher).item() == pytest.approx(naive)


def test_channel_correlations_take_maps_of_different_sizes(maps: Maps) -> None:
    larger = maps[1][1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert channel_loss(maps[1][1], larger).item() < 1e-20
