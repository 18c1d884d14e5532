"""Running statistics of a network that is asked about what is not its input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norms in training mode normalise by the batch, as ever, but their running statistics stay as they are."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
