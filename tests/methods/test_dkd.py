"""DKD: its parts equal the authors' values and sum to KD."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdbench import Batch, Outputs
from kdbench_methods.dkd import DKD, decoupled_losses
from kdbench_methods.kd import kd_loss

SEEDS = st.integers(0, 2**31)


def test_both_parts_equal_their_golden_values(tensors: dict[str, Tensor]) -> None:
    target, non_target = decoupled_losses(tensors["zs"], tensors["zt"], tensors["labels"], 4.0)
    assert target.mean().item() == pytest.approx(0.1474676967172509, rel=1e-6)
    assert non_target.mean().item() == pytest.approx(2.1434445806995073, rel=1e-6)
    assert (target + 8 * non_target).mean().item() == pytest.approx(17.295024342313308, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.floats(0.5, 10))
def test_its_parts_sum_to_kd(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t = 3 * torch.randn(2, 6, 7, dtype=torch.float64, generator=generator)
    labels = torch.randint(7, (6,), generator=generator)
    target, non_target = decoupled_losses(s, t, labels, temperature)
    p_label = (t / temperature).softmax(dim=1).gather(1, labels[:, None])[:, 0]
    whole = torch.stack([kd_loss(s[i : i + 1], t[i : i + 1], temperature) for i in range(6)])
    assert torch.allclose(target + (1 - p_label) * non_target, whole, rtol=1e-8)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_both_parts_are_zero_for_equal_logits(seed: int) -> None:
    z = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert all(part.abs().max() < 1e-12 for part in decoupled_losses(z, z + 2, torch.arange(4), 4.0))


@pytest.mark.parametrize(("epoch", "share"), [(0, 1 / 20), (9, 0.5), (19, 1.0), (100, 1.0)])
def test_its_weights_grow_over_the_warm_up(epoch: int, share: float, tensors: dict[str, Tensor]) -> None:
    zero = torch.tensor(0)
    batch = Batch(tensors["zs"], tensors["labels"], zero, None, torch.tensor(epoch), zero, torch.tensor(0.0))
    outputs = (Outputs(role, logits=tensors[z]) for role, z in (("student", "zs"), ("teacher", "zt")))
    terms = DKD(DKD.Params()).loss(batch, *outputs)
    assert terms["target"].item() == pytest.approx(share * 0.1474676967172509)
    assert terms["non_target"].item() == pytest.approx(share * 8 * 2.1434445806995073)


def test_confident_logits_give_finite_gradients() -> None:
    s = torch.tensor([[300.0, -300.0, 0.0]], requires_grad=True)
    sum(part.sum() for part in decoupled_losses(s, -s.detach(), torch.tensor([0]), 1.0)).backward()  # type: ignore[union-attr]
    assert s.grad is not None
    assert s.grad.isfinite().all()
