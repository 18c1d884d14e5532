"""What a network says of images: its logits, in the precision that the recipe wants."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kdbench.networks.inputs import as_seen


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 for what it is safe for, where the recipe says so."""
    # Without the cache of cast weights, which a captured step would hold on to.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Tensor], device: torch.device, precision: str) -> Tensor:
    """Logits (I, C) in float32 of normalised images in batches (B, C, H, W), in evaluation mode."""
    model.eval()
    with autocast(device, precision):
        seen = (as_seen(model, images).contiguous(memory_format=torch.channels_last) for images in batches)
        return torch.cat([model(images).float() for images in seen])
