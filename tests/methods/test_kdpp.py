"""KD++: class means of the teacher, and what an embedding lacks in their direction."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import Outputs, Shapes
from kdbench_methods.kdpp import KDPP, shortfall
from tests.methods.small import CLASSES, small_setup


def built(**given: Any) -> KDPP:
    method = KDPP(KDPP.Params())
    setup = small_setup(student=Shapes("student", embedding=2), teacher=Shapes("teacher", embedding=2), **given)
    method.build(setup)
    return method


def test_the_class_means_are_those_of_the_training_images_made_once() -> None:
    asked: list[Tensor] = []

    def images(index: Tensor, view: Tensor) -> Tensor:
        asked.append(view)
        return index[:, None].float()

    method = built(
        images=images,
        num_views=5,
        batch_size=5,
        read_teacher=lambda x: Outputs("teacher", embedding=torch.cat([x, -x], dim=1)),
    )
    for epoch in range(3):
        method.before_epoch("", epoch, nn.Identity())
    labels = torch.arange(12) % CLASSES
    means = torch.stack([torch.arange(12.0)[labels == c].mean() for c in range(CLASSES)])
    assert torch.allclose(method.centres, torch.stack([means, -means], dim=1))
    assert [len(view) for view in asked] == [5, 5, 2]
    assert len(torch.cat(asked).unique()) > 1


@pytest.mark.parametrize(
    ("student", "lacks"),
    [
        ((4.0, 0.0), 0.0),  # as long as the teacher's, in the right direction
        ((9.0, 0.0), 0.0),
        ((2.0, 0.0), 0.5),
        ((0.0, 4.0), 1.0),
        ((-4.0, 0.0), 2.0),
        ((0.0, 0.0), 1.0),
    ],
)
def test_an_embedding_is_to_be_long_and_to_point_to_the_class_mean(student: tuple[float, ...], lacks: float) -> None:
    teacher, centre = torch.tensor([[0.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    assert shortfall(torch.tensor([student]), teacher, centre).item() == pytest.approx(lacks)


def test_embeddings_of_one_width_are_compared_as_they_are() -> None:
    assert not list(built().parameters())
