"""What kernels of this processor get wrong, and layers that do without them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_CHANNELS = 8  # floats of an AVX2 register


class SubsampledConv2d(nn.Conv2d):
    """A strided 1 x 1 convolution as one of stride 1 on the pixels that it reads: the same values and gradients."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(B, C, H, W) to (B, D, ceil(H / stride), ceil(W / stride))."""
        rows, columns = self.stride
        return F.conv2d(input[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def without_broken_kernels(network: nn.Module) -> None:
    """Change, in place, the layers that this processor's kernels would corrupt memory in.

    On processors without AVX-512, oneDNN 3.12 (PyTorch 2.13 and 2.14 bring it) writes beyond its buffers in the weight
    gradient of a strided 1 x 1 convolution of fewer than eight channels whose images lie channels last.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return
    for module in network.modules():
        if type(module) is nn.Conv2d and is_broken(module):
            module.__class__ = SubsampledConv2d


def is_broken(conv: nn.Conv2d) -> bool:
    pointwise = conv.kernel_size == (1, 1) and conv.padding in (0, (0, 0)) and conv.in_channels < LEAST_CHANNELS
    return pointwise and max(conv.stride) > 1
