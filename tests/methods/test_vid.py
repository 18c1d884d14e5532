"""VID: a Gaussian around the student's prediction of the teacher's map, its variance learned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdbench import Setup, Shapes
from kdbench_methods.vid import VID, gaussian_loss, resized


def build(student: tuple[tuple[int, int, int], ...], teacher: tuple[tuple[int, int, int], ...]) -> VID:
    method = VID(VID.Params())
    method.build(
        Setup(
            student=Shapes("student", features=student),
            teacher=Shapes("teacher", features=teacher),
            train_labels=torch.zeros(4, dtype=torch.int64),
            num_classes=2,
            mean=(0.0,),
            std=(1.0,),
            num_steps=1,
            device=torch.device("cpu"),
            generator=torch.Generator(),
        )
    )
    return method


def test_the_likelihood_equals_its_golden_value(maps: tuple[list[Tensor], list[Tensor]]) -> None:
    student, teacher = maps[0][-1], maps[1][-1]
    variance = torch.full((32,), 5.0, dtype=torch.float64)
    assert gaussian_loss(student, teacher, variance).item() == pytest.approx(1.2314101701891536, rel=1e-6)


def test_the_likelihood_is_that_of_a_normal_distribution() -> None:
    mean, observed = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64)
    variance = torch.rand(4, dtype=torch.float64) + 0.1
    normal = torch.distributions.Normal(mean, variance.sqrt()[:, None, None])
    expected = -normal.log_prob(observed).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    assert gaussian_loss(mean, observed, variance).item() == pytest.approx(expected.item(), rel=1e-6)


def test_variances_start_as_the_authors_and_learn() -> None:
    method = build(((4, 8, 8),), ((6, 8, 8),))
    assert torch.nn.functional.softplus(method.rho[0]).tolist() == pytest.approx([5.0] * 6)
    assert all(parameter.requires_grad for parameter in method.parameters())
    assert [tuple(m.weight.shape[:2]) for m in method.means[0] if hasattr(m, "weight")] == [(6, 4), (6, 6), (6, 6)]


def test_maps_are_averaged_or_repeated_to_the_teachers_size() -> None:
    small = torch.rand(2, 3, 2, 2)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(resized(large, small), small)
    assert torch.allclose(resized(small, large), large)
