"""What classifiers say by themselves: a linear one at each position of a map, each of two heads on its own token."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import NotApplicable
from kdbench.networks.inputs import as_seen

ROUNDING = 1e-3  # of logits, in float32


def class_maps(network: Any, final: Tensor) -> Tensor:
    """(B, C, H, W) with its bias, from the end of a network's features (B, D, H, W): their mean is the logits.

    Differentiable in the map and in the classifier's weights.
    """
    classifier = network.get_classifier()
    return F.conv2d(channels_first(network, final), classifier.weight.flatten(1)[:, :, None, None], classifier.bias)


def channels_first(network: Any, final: Tensor) -> Tensor:
    """The end of a network's features as (B, D, H, W)."""
    return final.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "NCHW") == "NHWC" else final


@torch.no_grad()
def check_class_maps(role: str, network: Any, example: Tensor) -> None:
    """A network has class maps: its logits are their mean.

    Args:
        example: (1, C, H, W), an image of the suite's size; another, random one is asked.

    Raises:
        NotApplicable: it has none; names it.
    """
    training = network.training
    images = torch.rand(example.shape, generator=torch.Generator().manual_seed(0))
    has_them = False
    network.eval()
    if hasattr(network, "forward_features") and isinstance(network.get_classifier(), nn.Linear | nn.Conv2d):
        final = network.forward_features(as_seen(network, images))
        width = network.get_classifier().weight.shape[1]
        if isinstance(final, Tensor) and final.ndim == 4 and channels_first(network, final).shape[1] == width:
            logits = network.forward_head(final)
            missed = (class_maps(network, final).mean(dim=(2, 3)) - logits).norm()
            has_them = bool(missed <= ROUNDING * logits.norm())
    network.train(training)
    if not has_them:
        kind = type(network).__name__
        raise NotApplicable(f"the {role}, a {kind}, has no class maps: its classifier is not linear in a map's mean")


def two_heads(role: str, network: Any) -> tuple[nn.Module, ...]:
    """The classifiers of a class token and a distillation token.

    Raises:
        NotApplicable: it has one classifier; names it.
    """
    found = network.get_classifier()
    if not isinstance(found, tuple):
        kind = type(network).__name__
        raise NotApplicable(f"the {role}, a {kind}, has no distillation token with a head of its own")
    return found
