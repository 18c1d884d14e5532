"""Several trained teachers of one student: the pair's own and those that the suite names beside it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdbench import NotApplicable, Outputs, Read, Setup


def further_teachers(setup: Setup) -> tuple[Read, ...]:
    """Readers of the teachers beside the pair's own.

    Raises:
        NotApplicable: there are none.
    """
    if not setup.team:
        raise NotApplicable("the suite names no further teachers beside this one")
    return setup.team


@torch.no_grad()
def team_logits(teacher: Outputs, others: Sequence[Read], images: Tensor) -> Tensor:
    """(K, B, C) logits of all teachers for (B, C, H, W) images, those of the pair's own first."""
    return torch.stack([teacher.logits, *(read(images).logits for read in others)])
