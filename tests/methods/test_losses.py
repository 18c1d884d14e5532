"""Losses equal the original implementations on the golden inputs, and have the properties that their papers name."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.task import LogitDistillationTask
from torch import Tensor, nn

from kdbench_methods.at import attention, attention_loss
from kdbench_methods.fitnets import hint_loss, regressor
from kdbench_methods.kd import kd_loss

Maps = tuple[list[Tensor], list[Tensor]]
SEEDS = st.integers(0, 2**31)


GOLDEN_KD = [(1.0, 1.6328136216438942), (2.0, 1.995602141636883), (4.0, 2.0883833819292192)]


@pytest.mark.parametrize(("temperature", "value"), GOLDEN_KD)
def test_kd_equals_its_golden_value(tensors: dict[str, Tensor], temperature: float, value: float) -> None:
    assert kd_loss(tensors["zs"], tensors["zt"], temperature).item() == pytest.approx(value, rel=1e-6)


def test_cross_entropy_of_the_golden_inputs_equals_its_golden_value(tensors: dict[str, Tensor]) -> None:
    assert F.cross_entropy(tensors["zs"], tensors["labels"]).item() == pytest.approx(2.3296056382313077, rel=1e-6)


def test_hint_equals_its_golden_value(maps: Maps) -> None:
    student, teacher = maps
    assert hint_loss(student[1], teacher[1]).item() == pytest.approx(4.099261349195048, rel=1e-6)


def test_attention_equals_its_golden_value(maps: Maps) -> None:
    assert attention_loss(*maps).item() == pytest.approx(0.004888868481521045, rel=1e-6)
    each = [attention_loss([s], [t]).item() for s, t in zip(*maps, strict=True)]
    assert each == pytest.approx([0.000880418407, 0.001969841322, 0.002038608753], rel=1e-6)


def test_kd_equals_timms_distillation_loss_on_the_same_tensors(tensors: dict[str, Tensor]) -> None:
    class Fixed(nn.Module):
        """A network that answers with given logits."""

        def __init__(self, logits: Tensor) -> None:
            super().__init__()
            self.logits = nn.Parameter(logits)
            self.num_classes, self.in_chans = logits.shape[1], 1
            self.pretrained_cfg = {"mean": (0.5,), "std": (0.5,)}

        def forward(self, images: Tensor) -> Tensor:
            return self.logits

    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.float64), tensors["labels"]
    task = LogitDistillationTask(
        student_model=Fixed(tensors["zs"]),
        teacher_model=Fixed(tensors["zt"]),
        criterion=nn.CrossEntropyLoss(),
        temperature=4.0,
        task_loss_weight=0.1,
        distill_loss_weight=0.9,
        verbose=False,
    ).double()
    theirs = task(images, labels)["loss"].item()
    ours = 0.1 * F.cross_entropy(tensors["zs"], labels) + 0.9 * kd_loss(tensors["zs"], tensors["zt"], 4.0)
    assert ours.item() == pytest.approx(theirs, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.5, 20))
def test_kd_is_zero_for_equal_logits_and_blind_to_a_constant(seed: int, temperature: float) -> None:
    s, t = torch.randn(2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert kd_loss(t, t, temperature).abs().item() < 1e-9
    shifted = kd_loss(s + 3, t - 2, temperature)
    assert shifted.item() == pytest.approx(kd_loss(s, t, temperature).item(), rel=1e-6, abs=1e-9)
    assert kd_loss(s, t, temperature).item() >= 0


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_losses_do_not_depend_on_the_order_of_the_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t = torch.randn(2, 6, 5, 4, 4, dtype=torch.float64, generator=generator)
    order = torch.randperm(6, generator=generator)
    assert attention_loss([s[order]], [t[order]]).item() == pytest.approx(attention_loss([s], [t]).item(), rel=1e-9)
    flat = kd_loss(s.flatten(1)[order], t.flatten(1)[order], 4.0).item()
    assert flat == pytest.approx(kd_loss(s.flatten(1), t.flatten(1), 4.0).item(), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 10))
def test_attention_sees_neither_sign_nor_scale_nor_the_order_of_channels(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    f = torch.randn(3, 8, 4, 4, dtype=torch.float64, generator=generator)
    order = torch.randperm(8, generator=generator)
    assert torch.allclose(attention(-scale * f[:, order]), attention(f))


def test_attention_pools_the_larger_map_to_the_smaller() -> None:
    small = torch.rand(2, 3, 2, 2, dtype=torch.float64)
    assert attention_loss([small.repeat_interleave(2, 2).repeat_interleave(2, 3)], [small]).item() < 1e-20


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((4, 8, 8), (6, 8, 8)),
        ((4, 8, 8), (6, 4, 4)),
        ((4, 4, 4), (6, 8, 8)),
        ((4, 7, 7), (6, 5, 4)),
        ((4, 2, 2), (6, 8, 8)),
    ],
)
def test_a_hint_regressor_gives_the_teachers_shape(
    student: tuple[int, int, int], teacher: tuple[int, int, int]
) -> None:
    assert regressor(student, teacher)(torch.rand(2, *student)).shape == (2, *teacher)


def test_kd_stays_finite_where_probabilities_underflow() -> None:
    s = torch.tensor([[300.0, -300.0]], requires_grad=True)
    loss = kd_loss(s, -s.detach(), 1.0)
    loss.backward()
    assert math.isfinite(loss.item())
    assert s.grad is not None
    assert s.grad.isfinite().all()
