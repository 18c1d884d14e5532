"""What a training spends: floating-point operations, and images through each network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kdbench.networks.flops import FlopCounter
from kdbench.networks.outputs import OutputReader


class Spending:
    """A running account of a training.

    Attributes:
        flops: of convolutions, matrix products and attention, forward and backward.
        passes: images forward and backward through each network.
        images: that the steps trained on.
        is_counting: while something is counted.

    Args:
        backwards: backward passes of a step.
    """

    def __init__(self, backwards: int = 1) -> None:
        self.backwards = backwards
        self.flops = 0.0
        self.passes: dict[str, tuple[float, float]] = {}
        self.images = 0.0
        self.noted = 0
        self.is_counting = False

    def note(self, images: int) -> None:
        """A step trains on so many images."""
        self.noted += images

    @contextmanager
    def counting(self, readers: Mapping[str, OutputReader], times: float = 1) -> Iterator[None]:
        """Count what runs within, as so many repetitions of it."""
        for reader in readers.values():
            reader.runs = []
        self.noted, self.is_counting = 0, True
        counter = FlopCounter()
        try:
            with counter:
                yield
            self.flops += times * counter.flops
            self.images += times * self.noted
            for name, reader in readers.items():
                forward, backward = self.passes.get(name, (0.0, 0.0))
                runs = reader.runs or []
                forward += times * sum(images for images, _ in runs)
                backward += times * self.backwards * sum(images for images, gradients in runs if gradients)
                self.passes[name] = forward, backward
        finally:
            self.is_counting = False
            for reader in readers.values():
                reader.runs = None
