"""What the batch norms of a teacher remember of its training images, beside what they are given of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class BatchStatistics:
    """The batch norms of a frozen network that keep running statistics; none where it has no batch norm.

    with batch_statistics.watched() as given:
        read_teacher(images)
        loss = batch_statistics.loss(given)
    """

    def __init__(self, network: nn.Module) -> None:
        found = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
        self.layers = [layer for layer in found if layer.running_mean is not None]

    @contextmanager
    def watched(self) -> Iterator[list[Tensor]]:
        """Within it, a list of (2, C) means and variances of what each layer was last given; empty afterwards."""
        given = [torch.empty(0) for _ in self.layers]

        def keep(place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                given[place] = statistics(inputs[0])

            return hook

        handles = [layer.register_forward_pre_hook(keep(place)) for place, layer in enumerate(self.layers)]
        try:
            yield given
        finally:
            for handle in handles:
                handle.remove()
            given.clear()

    def loss(self, given: Sequence[Tensor]) -> Tensor:
        """sum_l |mean_l - running mean_l|_2 + |variance_l - running variance_l|_2, 0-dim; 0 without layers.

        Args:
            given: (2, C) means and variances, of each layer.
        """
        total = torch.zeros(())
        for own, layer in zip(given, self.layers, strict=True):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            total = total + (own - torch.stack([layer.running_mean, layer.running_var])).norm(dim=1).sum()
        return total


def statistics(feature: Tensor) -> Tensor:
    """Mean and variance (2, C) of a (B, C, H, W) map, over images and positions, in float32 at least."""
    feature = feature.to(torch.promote_types(feature.dtype, torch.float32))
    variance, mean = torch.var_mean(feature, dim=(0, 2, 3), correction=0)
    return torch.stack([mean, variance])
