"""Layers that stand in for broken kernels compute the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdbench.networks.build import build_network
from kdbench.networks.processor import without_broken_kernels
from kdbench.suite import Suite


@pytest.mark.parametrize(("size", "stride"), [(8, 2), (7, 2), (9, (2, 3)), (5, (1, 2))])
def test_a_subsampled_convolution_has_the_values_and_gradients_of_the_strided_one(
    size: int, stride, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = nn.Conv2d(4, 6, 1, stride, bias=True).double()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    other = nn.Sequential(copy.deepcopy(conv))
    without_broken_kernels(other, (size, size))
    other = copy.deepcopy(other)[0]
    images = torch.randn(3, 4, size, size, dtype=torch.float64)
    outputs = []
    for layer in (conv, other):
        seen = images.clone().requires_grad_()
        made = layer(seen)
        made.square().sum().backward()
        outputs.append((made, seen.grad, layer.weight.grad, layer.bias.grad))
    for mine, theirs in zip(*outputs, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("capability", "side", "broken"),
    [("AVX2", 8, {4}), ("AVX512", 72, {4, 8}), ("AVX512", 32, set()), ("NEON", 72, set())],
)
def test_only_layers_that_a_processor_gets_wrong_are_changed(
    capability: str, side: int, broken: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    strided = {channels: nn.Conv2d(channels, 8, 1, 2) for channels in (4, 8, 16)}
    others = [nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(4, 8, 1)]
    network = nn.Sequential(*strided.values(), *others)
    names = list(network.state_dict())
    without_broken_kernels(network, (side, 8))
    assert {type(layer) for layer in network} == {nn.Conv2d}
    changed = {n for n, layer in strided.items() if layer.stride == (1, 1) and layer._forward_pre_hooks}
    assert changed == broken
    assert not any(layer._forward_pre_hooks for layer in others)
    assert list(network.state_dict()) == names


@pytest.mark.parametrize("side", [8, 44, 72])
def test_the_smallest_network_of_digits_trains_with_images_channels_last(digits: Suite, side: int) -> None:
    """In a process whose heap is corrupted this test would not come to its end."""
    suite = digits.model_copy(update={"data": digits.data.model_copy(update={"image_size": (side, side)})})
    network = build_network(suite, "resnet8_w4", 0).to(memory_format=torch.channels_last)
    for _ in range(20):
        network(torch.randn(16, 1, side, side).to(memory_format=torch.channels_last)).square().sum().backward()
