"""What a training asks of data, of whatever kind they are: another modality attaches here.

A kind has a `LabelledData`, made from the suite's table by `access.load_dataset`, whose `inputs` the steps read on a
device. Small images (`small.py`, `views.py`) are cut by each step; large ones (`large.py`) are made ahead of the steps
by other processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from kdbench.data.feed import Feed
from kdbench.tables import Data


class Inputs(Protocol):
    """What the networks are given, normalised, on a device.

    Attributes:
        can_cut: whether a step cuts its batches itself, on the device; if not, `epoch` makes them ahead, and `cut`, for
            what a method asks for beside them, waits for other processes.
    """

    can_cut: bool

    def cut(self, index: Tensor, view: Tensor, /) -> Tensor:
        """Views of training samples: (B,) and (B,) to (B, C, H, W) float32."""

    def epoch(self, feed: Feed, first: int) -> Iterator[Tensor | None]:
        """The batches of an epoch from batch `first` on; None for each that its step cuts."""

    def test(self) -> Iterator[Tensor]:
        """The test samples, in batches."""


class LabelledData(Protocol):
    """Both parts of a data set, with their labels (N,) int64."""

    @property
    def train_labels(self) -> Tensor: ...

    @property
    def test_labels(self) -> Tensor: ...

    def inputs(self, data: Data, batch_size: int, device: torch.device) -> Inputs:
        """What a training on a device reads."""

    def check_unchanged(self, data: Data) -> None:
        """They are still what they were before the training.

        Raises:
            KdbenchError: they are others.
        """
