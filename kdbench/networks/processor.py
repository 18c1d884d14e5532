"""What kernels of this processor get wrong, and how networks do without them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_CHANNELS = 8  # floats of an AVX2 register


@dataclass(frozen=True)
class Subsample:
    """Takes the pixels that a strided 1 x 1 convolution reads, before it: (B, C, H, W) to (B, C, H / row, W / column).

    A hook, so that the layer keeps its type; one that can be copied with its network.
    """

    rows: int
    columns: int

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][:, :, :: self.rows, :: self.columns],)


def without_broken_kernels(network: nn.Module) -> None:
    """Change, in place, the layers that this processor's kernels would corrupt memory in; values and gradients stay.

    On processors without AVX-512, oneDNN 3.12 (PyTorch 2.13 and 2.14 bring it) writes beyond its buffers in the weight
    gradient of a strided 1 x 1 convolution of fewer than eight channels whose images lie channels last.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and is_broken(module):
            module.register_forward_pre_hook(Subsample(*module.stride))
            module.stride = (1, 1)


def is_broken(conv: nn.Conv2d) -> bool:
    """Whether a convolution runs into the broken kernel."""
    pointwise = conv.kernel_size == (1, 1) and conv.padding in (0, (0, 0)) and conv.in_channels < LEAST_CHANNELS
    return pointwise and max(conv.stride) > 1
