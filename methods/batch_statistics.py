"""What the batch norms of a teacher remember of its training images, beside what they are given of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def batch_norms(network: nn.Module) -> tuple[nn.BatchNorm2d, ...]:
    """The batch norms of a network that keep running statistics; none of a network without batch norm."""
    found = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    return tuple(layer for layer in found if layer.running_mean is not None)


@contextmanager
def watched(layers: Sequence[nn.BatchNorm2d]) -> Iterator[list[Tensor]]:
    """Within it, a list of (2, C) means and variances of what each layer was last given; empty afterwards."""
    given = [torch.empty(2, layer.num_features) for layer in layers]

    def keep(place: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given[place] = statistics(inputs[0])

        return hook

    handles = [layer.register_forward_pre_hook(keep(place)) for place, layer in enumerate(layers)]
    try:
        yield given
    finally:
        for handle in handles:
            handle.remove()
        given.clear()


def statistics(feature: Tensor) -> Tensor:
    """Mean and variance (2, C) of a (B, C, H, W) map, over images and positions."""
    variance, mean = torch.var_mean(feature.float(), dim=(0, 2, 3), correction=0)
    return torch.stack([mean, variance])


def statistics_loss(given: Sequence[Tensor], layers: Sequence[nn.BatchNorm2d]) -> Tensor:
    """sum_l |mean - running mean|_2 + |variance - running variance|_2 of (2, C) statistics; 0 without layers."""
    if not layers:
        return torch.zeros(())
    distances = [
        (own - torch.stack([layer.running_mean, layer.running_var])).norm(dim=1).sum()  # type: ignore[list-item]
        for own, layer in zip(given, layers, strict=True)
    ]
    return torch.stack(distances).sum()
