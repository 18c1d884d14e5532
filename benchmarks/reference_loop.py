"""The training loop of most distillation repositories: torchvision's transforms on single images, one step at a time.

Written apart from kdbench's data, views, schedule and trainer: tests compare losses with it, and the benchmark of step
times takes it for its yardstick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import functional as TF

View = tuple[int, int, bool]  # row and column of the crop, flipped


def view_of(image: np.ndarray, view: View, padding: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pad, crop, flip, to tensor, normalise: (H, W, C) uint8 to (C, H, W) float32."""
    row, column, flipped = view
    height, width = image.shape[:2]
    picture = TF.pad(Image.fromarray(image.squeeze()), padding)
    picture = TF.crop(picture, row, column, height, width)
    if flipped:
        picture = TF.hflip(picture)
    return TF.normalize(TF.to_tensor(picture), list(mean), list(std))


def kd_loss(logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float = 4.0) -> Tensor:
    """0.1 cross-entropy + 0.9 KD (Hinton et al. 2015)."""
    soft = F.kl_div(
        F.log_softmax(logits / temperature, 1), F.softmax(teacher_logits / temperature, 1), reduction="batchmean"
    )
    return 0.1 * F.cross_entropy(logits, labels) + 0.9 * temperature**2 * soft


def reference_losses(
    batches: Iterator[tuple[Tensor, Tensor]],
    student: nn.Module,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    teacher: nn.Module | None = None,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    fused: bool = False,
) -> Iterator[float]:
    """The loss of each step, (images, labels) after (images, labels).

    Args:
        loss: of student logits, teacher logits (empty without a teacher) and labels.
        fused: the optimizer's arithmetic in one kernel, which rounds otherwise.
    """
    optimizer = torch.optim.SGD(
        student.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=fused
    )
    student.train()
    for images, labels in batches:
        logits = student(images)
        with torch.no_grad():
            teacher_logits = teacher(images) if teacher is not None else torch.empty(0)
        value = loss(logits, teacher_logits, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        yield value.item()
