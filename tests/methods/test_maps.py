"""Feature methods' losses equal the original implementations on the golden maps, or loops written from the papers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Method, Setup, Shapes
from kdbench_methods.ab import boundary_loss
from kdbench_methods.afd import AFD, attention_distances
from kdbench_methods.fn import normalised
from kdbench_methods.fsp import flow_loss
from kdbench_methods.ft import factor_loss
from kdbench_methods.nst import discrepancy
from kdbench_methods.ofd import OFD
from kdbench_methods.parts.layers import BatchNorm, same_size
from kdbench_methods.parts.margins import partial_distance
from kdbench_methods.reviewkd import Fusion, context_loss
from kdbench_methods.semckd import SemCKD, map_distance, similarity

Maps = tuple[list[Tensor], list[Tensor]]
STUDENT, TEACHER = ((3, 8, 8), (5, 4, 4)), ((4, 8, 8), (6, 4, 4), (7, 2, 2))


def build(cls: type[Method], **shapes: tuple[tuple[int, int, int], ...]) -> Method:
    """A method built for (student, teacher) maps, in float64."""
    torch.manual_seed(0)
    what = "pre_activations" if "student.pre_activations" in cls.requires else "features"
    method = cls(cls.Params())
    method.build(
        Setup(
            student=Shapes("student", **{what: shapes["student"]}),
            teacher=Shapes("teacher", **{what: shapes["teacher"]}),
            train_labels=torch.zeros(4, dtype=torch.int64),
            num_classes=2,
            mean=(0.0,),
            std=(1.0,),
            num_steps=1,
            device=torch.device("cpu"),
            generator=torch.Generator(),
            batch_size=8,
        )
    )
    return method.double()


def random_maps(shapes: tuple[tuple[int, int, int], ...], seed: int, rows: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, *shape, dtype=torch.float64, generator=generator) for shape in shapes]


def test_nst_equals_its_golden_value(maps: Maps) -> None:
    total = sum(discrepancy(s, t).item() for s, t in zip(*maps, strict=True))
    assert total == pytest.approx(1.0691103739492567, rel=1e-6)


def test_nst_is_zero_for_the_same_channels_in_another_order(maps: Maps) -> None:
    teacher = maps[1][0]
    assert discrepancy(3 * teacher[:, torch.randperm(8)], teacher).abs().item() < 1e-12


def test_fsp_equals_its_golden_value(maps: Maps) -> None:
    assert flow_loss(*maps).item() == pytest.approx(4.286332770491899, rel=1e-6)


def test_factors_equal_their_golden_value(maps: Maps) -> None:
    values = [factor_loss(s, t).item() for s, t in zip(*maps, strict=True)]
    assert values[-1] == pytest.approx(0.037183747647934834, rel=1e-6)


def test_boundaries_equal_their_golden_value(maps: Maps) -> None:
    assert 0.003 * boundary_loss(*maps, margin=1.0).item() == pytest.approx(3.3033918026948323, rel=1e-6)


def test_boundaries_cost_nothing_beyond_the_margin(maps: Maps) -> None:
    teacher = maps[1]
    assert boundary_loss([2 * t.sign() for t in teacher], teacher, margin=1.0).item() == 0


def test_the_hierarchical_context_loss_equals_its_golden_value(maps: Maps) -> None:
    total = sum(context_loss(s, t).item() for s, t in zip(*maps, strict=True))
    assert total == pytest.approx(10.779157592644085, rel=1e-6)


def test_review_fuses_by_attention_in_the_teachers_size() -> None:
    torch.manual_seed(0)
    fusion = Fusion(3, 4, 6, is_deepest=False).double().eval()
    own, deeper = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(2, 4, 4, 4, dtype=torch.float64)
    fused, matched = fusion(own, deeper, (8, 8))
    reduced, larger = fusion.reduce(own), F.interpolate(deeper, (8, 8))
    assert fusion.attend is not None
    weights = fusion.attend(torch.cat([reduced, larger], dim=1))
    assert torch.allclose(fused, weights[:, :1] * reduced + weights[:, 1:] * larger)
    assert matched.shape == (2, 6, 8, 8)


def test_overhaul_ignores_what_is_low_enough_and_equals_loops() -> None:
    s, t = (m[0][:, :2, :3, :3] for m in (random_maps(((2, 3, 3),), 0), random_maps(((2, 3, 3),), 1)))
    naive = 0.0
    for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True):
        naive += 0.0 if a <= b <= 0 else (a - b) ** 2
    assert partial_distance(s, t).item() == pytest.approx(naive / len(s))


def test_overhauls_margin_is_the_mean_negative_value_of_all_batches() -> None:
    method = build(OFD, student=((3, 4, 4),), teacher=((2, 4, 4),))
    assert isinstance(method, OFD)
    first, second = random_maps(((2, 4, 4),), 0)[0], random_maps(((2, 4, 4),), 1)[0]
    method.margin(0, first)
    margin = method.margin(0, second).flatten()
    both = torch.cat([first, second])
    expected = [both[:, c][both[:, c] < 0].mean().item() for c in range(2)]
    assert margin.tolist() == pytest.approx(expected)


def test_semantic_calibration_equals_loops() -> None:
    method = build(SemCKD, student=STUDENT, teacher=TEACHER)
    assert isinstance(method, SemCKD)
    student, teacher = random_maps(STUDENT, 0), random_maps(TEACHER, 1)
    attention = method.attention(student, teacher)
    assert attention.shape == (8, 2, 3)
    for i in (0, 5):
        for s, f_s in enumerate(student):
            products = torch.stack([(f_s[i] * f_s[j]).sum() for j in range(8)])
            query = method.query[s](products)
            keys = [
                method.key[t](torch.stack([(f_t[i] * f_t[j]).sum() for j in range(8)])) for t, f_t in enumerate(teacher)
            ]
            scores = torch.stack([query @ key / query.norm() / key.norm() for key in keys])
            assert torch.allclose(attention[i, s], scores.softmax(dim=0))


def test_a_short_batch_has_zeros_at_the_end_of_its_similarities() -> None:
    rows = similarity(random_maps(((3, 2, 2),), 0, rows=5)[0], 8)
    assert rows.shape == (5, 8)
    assert (rows[:, 5:] == 0).all()


def test_a_map_distance_is_a_mean_for_each_image_at_the_smaller_size() -> None:
    s, t = random_maps(((3, 8, 8),), 0)[0], random_maps(((3, 4, 4),), 1)[0]
    expected = [(F.avg_pool2d(a, 2) - b).square().mean().item() for a, b in zip(s, t, strict=True)]
    assert map_distance(nn.Identity(), s, t).tolist() == pytest.approx(expected)


def test_attended_distances_equal_loops() -> None:
    student, teacher = random_maps(STUDENT, 0, rows=3), random_maps(TEACHER, 1, rows=3)
    found = attention_distances(student, teacher)
    assert found.shape == (3, 3, 2)
    for i in range(3):
        for t, f_t in enumerate(teacher):
            q_t = f_t[i].square().mean(dim=0)
            for s, f_s in enumerate(student):
                q_s = F.adaptive_avg_pool2d(f_s[i].square().mean(dim=0)[None], (q_t.shape[0], q_t.shape[1]))[0]
                naive = (q_s / q_s.norm() - q_t / q_t.norm()).square().mean()
                assert found[i, t, s].item() == pytest.approx(naive.item())


def test_afds_attention_equals_loops() -> None:
    method = build(AFD, student=STUDENT, teacher=TEACHER).eval()
    assert isinstance(method, AFD)
    student, teacher = random_maps(STUDENT, 0, rows=3), random_maps(TEACHER, 1, rows=3)
    attention = method.attention(student, teacher)
    assert torch.allclose(attention.sum(dim=2), torch.ones(3, 3, dtype=torch.float64))
    dim = method.params.dim
    for i in range(3):
        keys = [method.bilinear(method.key[s](f[i : i + 1].mean(dim=(2, 3))).relu())[0] for s, f in enumerate(student)]
        for t, f_t in enumerate(teacher):
            query = method.query[t](f_t[i : i + 1].mean(dim=(2, 3)))[0]
            scores = [
                (key.reshape(3, dim)[t] @ query + method.position_t[t] @ method.position_s[s]) / dim**0.5
                for s, key in enumerate(keys)
            ]
            assert torch.allclose(attention[i, t], torch.stack(scores).softmax(dim=0))


def test_feature_normalisation_shortens_long_embeddings_alone() -> None:
    logits, embedding = torch.tensor([[4.0, 2.0], [4.0, 2.0]]), torch.tensor([[6.0, 8.0], [0.6, 0.8]])
    assert normalised(logits, embedding, 2.0).tolist() == [pytest.approx([0.8, 0.4]), pytest.approx([4.0, 2.0])]


def test_batch_norm_takes_a_single_value_and_is_pytorchs_otherwise() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    images = torch.randn(4, 3, 2, 2)
    assert torch.equal(ours(images), theirs(images))
    single = torch.randn(1, 3, 1, 1)
    assert torch.equal(ours(single), theirs.eval()(single))
    assert torch.equal(ours.running_mean, theirs.running_mean)  # type: ignore[arg-type]


def test_the_larger_of_two_maps_is_averaged_down() -> None:
    large, small = torch.rand(1, 2, 8, 6), torch.rand(1, 3, 4, 6)
    one, other = same_size(large, small)
    assert one.shape == (1, 2, 4, 6)
    assert torch.equal(other, small)
