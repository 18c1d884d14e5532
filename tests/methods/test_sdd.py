"""SDD's regions, and which of them weigh more."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kdbench import Batch, Outputs
from kdbench_methods.ca_mkd import kd_losses
from kdbench_methods.sdd import SDD, regions


def test_regions_are_means_of_parts_the_whole_first(random: Any) -> None:
    maps = random(2, 3, 8, 8)
    found = regions(maps, 3)
    assert found.shape == (1 + 4 + 16, 2, 3)
    assert torch.allclose(found[0], maps.mean(dim=(2, 3)))
    assert torch.allclose(found[4], maps[:, :, 4:, 4:].mean(dim=(2, 3)))
    assert torch.allclose(found[5], maps[:, :, :2, :2].mean(dim=(2, 3)))
    assert torch.equal(regions(maps, 1), found[:1])


def test_a_map_of_fewer_positions_than_regions_is_repeated(random: Any) -> None:
    maps = random(2, 3, 2, 2)
    assert torch.allclose(regions(maps, 3)[1:5], maps.flatten(2).permute(2, 0, 1))


@pytest.mark.parametrize(("label", "weights"), [(0, [1, 1, 2, 1, 2]), (1, [1, 1, 2, 1, 2]), (2, [1, 1, 1, 1, 1])])
def test_regions_that_say_otherwise_than_the_whole_weigh_more(label: int, weights: list[float], random: Any) -> None:
    says = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])  # for class 0, and less surely for class 1
    teacher = says[[0, 1, 0, 1]].T.reshape(1, 3, 2, 2)
    student = random(1, 3, 2, 2).float()
    outputs = [Outputs("student", logits=student.mean(dim=(2, 3)), class_maps=student)]
    outputs.append(Outputs("teacher", class_maps=teacher))
    zero = torch.tensor(0)
    batch = Batch(student, torch.tensor([label]), zero[None], None, zero, zero, zero.float())
    terms = SDD(SDD.Params(scales=2)).loss(batch, *outputs)
    z_s, z_t = regions(student, 2)[:, 0], regions(teacher, 2)[:, 0]
    expected = 0.9 * (torch.tensor(weights) * kd_losses(z_s, z_t, 4.0)).mean()
    assert terms["kd"].item() == pytest.approx(expected.item())
