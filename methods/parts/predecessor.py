"""Lifelong learning: a student that learns task after task, taught by itself as it was before the task."""

from __future__ import annotations

from itertools import accumulate, chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, OwnNetwork, Setup


class Predecessor(Method):
    """What methods of lifelong learning share: the frozen network of before the task, and which classes it knew."""

    scheme = "self"
    families: ClassVar[tuple[str, ...]] = ("lifelong",)

    before: OwnNetwork
    order: Tensor

    def build(self, setup: Setup) -> None:
        self.before = setup.network("student").requires_grad_(False)
        self.register_buffer("order", torch.tensor([*chain(*setup.tasks)], dtype=torch.int64))
        self.counts = (0, *accumulate(map(len, setup.tasks)))  # of classes before each task, and at the end

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        if epoch == 0:
            self.before.model.load_state_dict(student.state_dict())

    def old(self, task: int) -> Tensor:
        """The classes that had come before a task."""
        return self.order[: self.counts[task]]

    def new(self, task: int) -> Tensor:
        """Those that come with it."""
        return self.order[self.counts[task] : self.counts[task + 1]]

    def taught(self, batch: Batch) -> Outputs:
        """What the network of before the task says of a batch."""
        return self.before.frozen(batch.images)
