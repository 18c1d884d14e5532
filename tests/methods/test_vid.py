"""VID: a Gaussian around the student's prediction of the teacher's map, its variance learned."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kdbench import Batch, Outputs, Setup, Shapes
from kdbench_methods.vid import EPS, VID, gaussian_loss


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
    assert (torch.nn.functional.softplus(method.rho[0]) + EPS).tolist() == pytest.approx([5.0] * 6, rel=1e-6)
    assert all(parameter.requires_grad for parameter in method.parameters())
    assert [tuple(m.weight.shape[:2]) for m in method.means[0] if hasattr(m, "weight")] == [(6, 4), (6, 6), (6, 6)]


@pytest.mark.parametrize("sizes", [(2, 4), (4, 2)])
def test_the_larger_of_two_maps_is_averaged_down(sizes: tuple[int, int], batch_of: Callable[..., Batch]) -> None:
    (small, large), maps = sorted(sizes), [torch.rand(2, 3, size, size) for size in sizes]
    averaged = [f.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5)) if f.shape[2] == large else f for f in maps]
    torch.manual_seed(0)
    method = build(*(((3, size, size),) for size in sizes))
    torch.manual_seed(0)
    other = build(*(((3, small, small),) for _ in sizes))
    batch = batch_of(2)
    assert information(method, batch, *maps) == pytest.approx(information(other, batch, *averaged))


def information(method: VID, batch: Batch, *maps: Tensor) -> float:
    student, teacher = (Outputs("it", logits=torch.zeros(2, 2), features=[f]) for f in maps)
    return method.loss(batch, student, teacher)["information"].item()
