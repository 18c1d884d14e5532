"""What methods share that look at an image and at its strong view."""

from __future__ import annotations

from torch import Tensor

from kdbench import Batch, Method, Setup


class WithStrongViews(Method):
    """Base: student and teacher also look at each image's strong view, in a pass of its own.

    So batch norm takes each view by itself, and moves its running statistics once for each.
    """

    def build(self, setup: Setup) -> None:
        self.read_student, self.read_teacher = setup.read_student, setup.read_teacher

    def strong_logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, C) logits of student and teacher for the strong views."""
        assert batch.strong_images is not None
        return self.read_student(batch.strong_images).logits, self.read_teacher(batch.strong_images).logits
