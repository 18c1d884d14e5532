"""FCFD's bridges between two networks' maps, and its mixed paths."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import NotApplicable, Outputs, OwnNetwork, Shapes
from kdbench_methods.fcfd import FCFD, bridge
from tests.methods.small import CLASSES, small_setup

MAPS = ((4, 8, 8), (6, 4, 4), (8, 2, 2))


@pytest.mark.parametrize("target", [(5, 8, 8), (5, 4, 4), (5, 2, 2), (5, 16, 16), (5, 32, 32)])
@pytest.mark.parametrize("relu", [False, True])
def test_a_bridge_leads_to_the_shape_of_the_other_map(target: tuple[int, int, int], relu: bool) -> None:
    link = bridge((4, 8, 8), target, relu)
    assert link(torch.randn(2, 4, 8, 8)).shape == (2, *target)
    assert isinstance(link[-1], nn.LeakyReLU if relu else nn.BatchNorm2d)


def test_sizes_that_are_no_multiples_are_refused() -> None:
    with pytest.raises(NotApplicable, match="8x8 and 7x7"):
        bridge((4, 8, 8), (4, 7, 7), True)


def built(**params: Any) -> FCFD:
    """FCFD where a network's maps are positive but for the last, as behind ReLUs."""

    def read(images: Tensor) -> Outputs:
        maps = [torch.rand(2, *shape) for shape in MAPS]
        return Outputs("teacher", features=[*maps[:-1], maps[-1] - 0.5])

    def goes_on(position: int, feature: Tensor) -> Outputs:
        return Outputs("teacher", logits=torch.zeros(2, CLASSES), features=[])

    method = FCFD(FCFD.Params.model_validate(params))
    own = OwnNetwork(nn.Identity(), read, nullcontext)  # type: ignore[arg-type]
    shapes = {"features": MAPS}
    method.build(
        small_setup(
            student=Shapes("student", **shapes),
            teacher=Shapes("teacher", **shapes),
            image_shape=(1, 8, 8),
            network=lambda role: own,
            read_teacher=read,
            student_from=goes_on,
            teacher_from=goes_on,
        )
    )
    return method


def test_bridges_end_in_a_leaky_relu_where_the_maps_are_behind_a_relu() -> None:
    method = built()
    assert [isinstance(link[-1], nn.LeakyReLU) for link in method.to_teacher] == [True, True, False]
    assert [isinstance(link[-1], nn.LeakyReLU) for link in method.to_student] == [True, True]


@pytest.mark.parametrize(("paths", "count"), [(1, 1), (2, 2), (9, 4)])
def test_so_many_mixed_paths_count_in_a_step_each_time_others(paths: int, count: int) -> None:
    method = built(paths=paths)
    drawn = [method.draw(torch.device("cpu")) for _ in range(20)]
    assert {int(one.sum()) for one in drawn} == {count}
    assert len({tuple(one.tolist()) for one in drawn}) > 1 or count == 4
    assert torch.stack(drawn).any(dim=0).all()


def test_a_network_of_one_map_has_no_mixed_paths() -> None:
    one = {"features": MAPS[:1]}
    with pytest.raises(NotApplicable, match="no feature map before the last"):
        FCFD(FCFD.Params()).build(small_setup(student=Shapes("student", **one), teacher=Shapes("teacher", **one)))
