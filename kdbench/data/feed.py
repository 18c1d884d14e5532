"""What the steps of an epoch read, on the device before the first of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdbench.data.stream import epoch_stream, strong_stream
from kdbench.schedule import learning_rate
from kdbench.tables import Recipe


@dataclass(frozen=True)
class Feed:
    """An epoch's order, views, clock and learning rates.

    Attributes:
        index, view: (N,) int64, the samples in their order, and the view of each.
        strong_view, strong: (N,) int64 and (N, D) float, the crop and the draws of each one's strong view; empty where
            no method reads them.
        position: (B,) int64, 0 to B - 1.
        epoch, step: (S,) int64, counted from 0 over the whole training.
        progress, rate: (S,) float, the part of the training that is done, and the learning rate.
    """

    index: Tensor
    view: Tensor
    strong_view: Tensor
    strong: Tensor
    position: Tensor
    epoch: Tensor
    step: Tensor
    progress: Tensor
    rate: Tensor

    def rows(self, i: int | Tensor) -> tuple[Tensor, Tensor]:
        """Samples and views of batch i: a number, or a (1,) tensor on the device for a full batch."""
        where = self.where(i)
        return self.index[where], self.view[where]

    def strong_rows(self, i: int | Tensor) -> tuple[Tensor, Tensor]:
        """Crops and draws of the strong views of batch i, as `rows`."""
        where = self.where(i)
        return self.strong_view[where], self.strong[where]

    def where(self, i: int | Tensor) -> slice | Tensor:
        """The positions of batch i."""
        size = len(self.position)
        return slice(i * size, (i + 1) * size) if isinstance(i, int) else i * size + self.position

    def head(self, steps: int) -> Feed:
        """The first steps alone, for timing."""
        rows = steps * len(self.position)
        return Feed(
            self.index[:rows],
            self.view[:rows],
            self.strong_view[:rows],
            self.strong[:rows],
            self.position,
            *(values[:steps] for values in (self.epoch, self.step, self.progress, self.rate)),
        )

    @staticmethod
    def at(values: Tensor, i: int | Tensor) -> Tensor:
        """The value of step i, 0-dim."""
        return values[i] if isinstance(i, int) else values.index_select(0, i)[0]


def epoch_feed(
    recipe: Recipe,
    stream: str,
    seed: int,
    epoch: int,
    num_samples: int,
    num_views: int,
    device: torch.device,
    cycles: int = 1,
    strong_draws: int = 0,
) -> Feed:
    """The feed of one epoch: a pure function of (stream, seed, epoch), whatever the device.

    Args:
        cycles: how often the learning rate's schedule runs within the recipe's epochs.
        strong_draws: of each strong view; 0 where no method reads them.
    """
    steps_per_epoch = -(-num_samples // recipe.batch_size)
    steps = np.arange(steps_per_epoch, dtype=np.int64) + epoch * steps_per_epoch
    cycle = recipe if cycles == 1 else recipe.shortened(recipe.epochs // cycles)
    rates = [learning_rate(cycle, step % (cycle.epochs * steps_per_epoch), steps_per_epoch) for step in steps.tolist()]
    index, view = epoch_stream(stream, seed, epoch, num_samples, num_views)
    strong_samples = num_samples if strong_draws else 0
    strong_view, strong = strong_stream(stream, seed, epoch, strong_samples, num_views, strong_draws)
    return Feed(
        index=to_device(index, device),
        view=to_device(view, device),
        strong_view=to_device(strong_view, device),
        strong=to_device(strong, device),
        position=torch.arange(recipe.batch_size, device=device),
        epoch=to_device(np.full_like(steps, epoch), device),
        step=to_device(steps, device),
        progress=to_device((steps / (recipe.epochs * steps_per_epoch)).astype(np.float32), device),
        rate=to_device(np.array(rates, dtype=np.float32), device),
    )


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Copied from pinned memory where there is a GPU, so that nothing waits for it."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
