"""Fixtures that the tests of methods share: a method built on given shapes, and its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench import Batch, Method, Setup, Shapes

Build = Callable[..., Any]


@pytest.fixture
def build() -> Build:
    """Builds a method in float64 from its class, the shapes of both networks' outputs and its parameters."""

    def build(cls: type[Method], student: dict[str, Any], teacher: dict[str, Any], **params: Any) -> Method:
        torch.manual_seed(0)
        method = cls(cls.Params.model_validate(params))
        method.build(
            Setup(
                student=Shapes("student", **student),
                teacher=Shapes("teacher", **teacher),
                train_labels=torch.arange(12) % 3,
                num_classes=3,
                mean=(0.0,),
                std=(1.0,),
                num_steps=10,
                device=torch.device("cpu"),
                generator=torch.Generator().manual_seed(1),
                batch_size=8,
            )
        )
        return method.double().train()

    return build


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """A batch of so many images, of three classes, in an epoch."""

    def batch_of(size: int, epoch: int = 0) -> Batch:
        index = torch.arange(size)
        images = torch.zeros(size, 1, 8, 8, dtype=torch.float64)
        return Batch(images, index % 3, index, index, torch.tensor(epoch), torch.tensor(0), torch.tensor(0.0))

    return batch_of


@pytest.fixture
def random() -> Callable[..., Tensor]:
    """Normal numbers in float64, the same for one seed."""

    def random(*shape: int, seed: int = 0) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    return random
