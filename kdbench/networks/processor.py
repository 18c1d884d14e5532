"""What kernels of this processor get wrong, and how networks do without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_CHANNELS = {"AVX2": 8, "AVX512": 16}  # floats of a register
HARMLESS = 44  # pixels a side, up to which AVX-512's kernel stays inside its buffers


@dataclass(frozen=True)
class Subsample:
    """Takes the pixels that a strided 1 x 1 convolution reads, before it: (B, C, H, W) to (B, C, H / row, W / column).

    A hook, so that the layer keeps its type; one that can be copied with its network.
    """

    rows: int
    columns: int

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][:, :, :: self.rows, :: self.columns],)


def without_broken_kernels(network: nn.Module, size: Sequence[int]) -> None:
    """Change, in place, the layers that this processor's kernels would corrupt memory in; values and gradients stay.

    oneDNN 3.12 (PyTorch 2.13 and 2.14 bring it) writes beyond its buffers in the weight gradient of a strided 1 x 1
    convolution of fewer channels than a register holds whose images lie channels last: with AVX2 of images of any size,
    with AVX-512 of those with more than 44 pixels a side.

    Args:
        size: height and width of the images that the network sees.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if capability == "AVX512" and max(size) <= HARMLESS:
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and is_broken(module, LEAST_CHANNELS.get(capability, 0)):
            module.register_forward_pre_hook(Subsample(*module.stride))
            module.stride = (1, 1)


def is_broken(conv: nn.Conv2d, least_channels: int) -> bool:
    """Whether a convolution runs into the broken kernel, which takes fewer channels than these."""
    pointwise = conv.kernel_size == (1, 1) and conv.padding in (0, (0, 0)) and conv.in_channels < least_channels
    return pointwise and max(conv.stride) > 1
