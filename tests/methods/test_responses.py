"""logits_mse, nkd, wsld and ctkd equal naive implementations written image by image from their papers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Batch, Outputs
from kdbench_methods.ctkd import CTKD, reverse_gradient
from kdbench_methods.kd import kd_loss
from kdbench_methods.logits_mse import LogitsMSE
from kdbench_methods.nkd import normalised_losses
from kdbench_methods.wsld import weighted_soft_loss

SEEDS = st.integers(0, 2**31)


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    s, t = 2 * torch.randn(2, 4, 6, dtype=torch.float64, generator=generator)
    return s, t, torch.randint(6, (4,), generator=generator)


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [p / sum(powers) for p in powers]


def batch_at(epoch: int, labels: Tensor) -> Batch:
    zero = torch.tensor(0)
    return Batch(torch.zeros(4, 1), labels, zero, None, torch.tensor(epoch), zero, torch.tensor(0.0))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.5, 5))
def test_nkd_equals_loops(seed: int, temperature: float) -> None:
    s, t, labels = draw(seed)
    target = non_target = 0.0
    for z_s, z_t, y in zip(s.tolist(), t.tolist(), labels.tolist(), strict=True):
        target -= softmax(z_t)[y] * math.log(softmax(z_s)[y]) / 4
        n_s, n_t = (softmax(z[:y] + z[y + 1 :], temperature) for z in (z_s, z_t))
        non_target -= temperature**2 * sum(b * math.log(a) for a, b in zip(n_s, n_t, strict=True)) / 4
    assert [x.item() for x in normalised_losses(s, t, labels, temperature)] == pytest.approx([target, non_target])


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0.5, 5))
def test_wsld_equals_loops(seed: int, temperature: float) -> None:
    s, t, labels = draw(seed)
    total = 0.0
    for z_s, z_t, y in zip(s.tolist(), t.tolist(), labels.tolist(), strict=True):
        weight = 1 - math.exp(math.log(softmax(z_s)[y]) / (-math.log(softmax(z_t)[y]) + 1e-7))
        p_s, p_t = softmax(z_s, temperature), softmax(z_t, temperature)
        total -= temperature**2 * weight * sum(b * math.log(a) for a, b in zip(p_s, p_t, strict=True)) / 4
    assert weighted_soft_loss(s, t, labels, temperature).item() == pytest.approx(total, rel=1e-6)


def test_wsld_weighs_without_a_gradient_through_the_weight() -> None:
    s, t, labels = draw(0)
    s.requires_grad_()
    weighted_soft_loss(s, t, labels, 2.0).backward()
    ce = torch.nn.functional.cross_entropy
    weight = 1 - torch.exp(-ce(s.detach(), labels, reduction="none") / (ce(t, labels, reduction="none") + 1e-7))
    expected = 2.0 / 4 * weight[:, None] * ((s.detach() / 2).softmax(1) - (t / 2).softmax(1))
    assert s.grad is not None
    assert torch.allclose(s.grad, expected, atol=1e-8)


def test_logits_mse_is_half_an_images_squared_distance_and_needs_no_labels() -> None:
    s, t, labels = draw(1)
    terms = LogitsMSE(LogitsMSE.Params()).loss(
        batch_at(0, labels), Outputs("student", logits=s), Outputs("teacher", logits=t)
    )
    naive = sum((a - b) ** 2 for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)) / 2
    assert terms["logits"].item() == pytest.approx(naive / len(labels))
    assert terms["ce"].item() == 0


def test_ctkd_is_kd_at_its_own_temperature() -> None:
    s, t, labels = draw(2)
    method = CTKD(CTKD.Params())
    method.theta = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    temperature = 1 + 20 / (1 + math.exp(-1))
    terms = method.loss(batch_at(0, labels), Outputs("student", logits=s), Outputs("teacher", logits=t))
    assert terms["kd"].item() == pytest.approx(0.9 * kd_loss(s, t, temperature).item())


@pytest.mark.parametrize(("epoch", "strength"), [(0, 0.0244717), (4, 0.5), (9, 1.0), (200, 1.0)])
def test_ctkds_temperature_climbs_its_gradient_ever_more(epoch: int, strength: float) -> None:
    s, t, labels = draw(3)

    def gradient(reverse: bool) -> Tensor:
        theta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        if reverse:
            method = CTKD(CTKD.Params())
            method.theta = torch.nn.Parameter(theta.detach())
            method.loss(batch_at(epoch, labels), Outputs("student", logits=s), Outputs("teacher", logits=t))[
                "kd"
            ].backward()
            assert method.theta.grad is not None
            return method.theta.grad
        (0.9 * kd_loss(s, t, 1 + 20 * theta.sigmoid())).backward()  # type: ignore[arg-type]
        assert theta.grad is not None
        return theta.grad

    assert gradient(True).item() == pytest.approx(-strength * gradient(False).item(), rel=1e-5)


def test_a_reversed_gradient_leaves_the_value() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    y = reverse_gradient(x, torch.tensor(0.25))
    (y * 2).backward()
    assert y.item() == 3.0
    assert x.grad is not None
    assert x.grad.item() == -0.5
