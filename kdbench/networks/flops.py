"""Floating-point operations of convolutions, matrix products and attention, by PyTorch's own formulas."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry


def convolution_backward(gradient: Tensor, images: Tensor, weight: Tensor, *rest: Any, **result: Any) -> int:
    """As many as forward for each of the two gradients that are asked for; PyTorch's own formula forgets groups."""
    transposed, asked = rest[4], rest[7]
    forward = conv_flop_count(list(images.shape), list(weight.shape), list(gradient.shape), transposed)
    return sum(asked[:2]) * forward


aten = torch.ops.aten
FORMULAS = {
    **flop_registry,  # which knows the attention of GPUs alone
    aten.convolution_backward: convolution_backward,
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
    aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
        aten._scaled_dot_product_flash_attention_backward
    ],
}


class FlopCounter(TorchDispatchMode):
    """Counts what runs within it, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (formula := FORMULAS.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out
