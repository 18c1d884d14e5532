"""Lifelong learning: a student that learns task after task, taught by itself as it was before the task."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from kdbench import Batch, Method, Outputs, OwnNetwork, Setup


class Predecessor(Method):
    """What methods of lifelong learning share: the frozen network of before the task, and which classes it knew."""

    scheme = "self"
    families: ClassVar[tuple[str, ...]] = ("lifelong",)

    before: OwnNetwork

    def build(self, setup: Setup) -> None:
        self.before = setup.network("student").requires_grad_(False)
        self.tasks = setup.tasks

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        if epoch == 0:
            self.before.model.load_state_dict(student.state_dict())

    def seen(self, task: int) -> list[int]:
        """The classes that have come by the end of a task."""
        return [c for classes in self.tasks[: task + 1] for c in classes]

    def old(self, task: int) -> list[int]:
        """Those that had come before it."""
        return self.seen(task - 1) if task else []

    def taught(self, batch: Batch) -> Outputs:
        """What the network of before the task says of a batch."""
        return self.before.frozen(batch.images)
