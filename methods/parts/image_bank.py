"""Where the data-free methods keep the images that they made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn


class Ring(nn.Module):
    """The rows that were added last, at most `size` of them."""

    rows: Tensor
    added: Tensor

    def __init__(self, size: int, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, *shape, dtype=dtype))
        self.register_buffer("added", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        """How many there are; for code between epochs, since the number is fetched from the device."""
        return min(int(self.added), len(self.rows))

    def add(self, rows: Tensor) -> None:
        """Keep (N, ...) rows, N no larger than the ring, in the place of the oldest."""
        place = (self.added + torch.arange(len(rows), device=rows.device)) % len(self.rows)
        self.rows[place] = rows
        self.added += len(rows)

    def sample(self, number: int, random: Generator) -> Tensor:
        """So many rows, each drawn from all that there are."""
        drawn = torch.randint(2**31, (number,), generator=random, device=self.rows.device)
        return self.rows[drawn % self.added.clamp(max=len(self.rows))]

    def subset(self, number: int, random: Generator) -> Tensor:
        """So many different rows, or all if there are fewer; for code between epochs."""
        return self.rows[torch.randperm(len(self), generator=random, device=self.rows.device)[:number]]


class ImageBank(nn.Module):
    """A ring of images, kept in bytes as image files are.

    Args:
        mean, std: the normalisation of the images that are added and drawn.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, size: int, image_shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.ring = Ring(size, image_shape, torch.uint8)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def range(self) -> tuple[Tensor, Tensor]:
        """Black and white, (C, 1, 1) each."""
        return -self.mean / self.std, (1 - self.mean) / self.std

    @torch.no_grad()
    def add(self, images: Tensor) -> None:
        """Keep normalised images (N, C, H, W)."""
        pixels = (images * self.std + self.mean) * 255
        self.ring.add(pixels.round().clamp(0, 255).to(torch.uint8))

    def sample(self, number: int, random: Generator) -> Tensor:
        """So many of the images, normalised (N, C, H, W), each drawn from all."""
        return self.normalised(self.ring.sample(number, random))

    def some(self, number: int) -> Tensor:
        """At most so many of the images, normalised, from all over the bank."""
        number = min(number, len(self))
        return self.normalised(self.ring.rows[torch.arange(number) * len(self) // max(1, number)])

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalised images of bytes."""
        return (pixels / 255 - self.mean) / self.std
