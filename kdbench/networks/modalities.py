"""What a network of another modality is given of an image: its luminance, or its edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def luminance(pixels: Tensor) -> Tensor:
    """Of pixels (B, 3, H, W) or (B, 1, H, W) their brightness, (B, 1, H, W)."""
    if pixels.shape[1] == 1:
        return pixels
    return (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)


def edges(pixels: Tensor) -> Tensor:
    """Of pixels in 0 to 1 the length of the luminance's gradient (Sobel) in 0 to 1, (B, 1, H, W).

    Beyond its border an image goes on as it ends.
    """
    across = pixels.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    framed = F.pad(luminance(pixels), (1, 1, 1, 1), mode="replicate")
    gradient = F.conv2d(framed, torch.stack([across, across.T])[:, None])
    return gradient.square().sum(dim=1, keepdim=True).sqrt().clamp(max=1)


MODALITIES = {"grey": luminance, "edges": edges}
