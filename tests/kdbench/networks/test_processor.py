"""Layers that stand in for broken kernels compute the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdbench.networks.build import build_network
from kdbench.networks.processor import is_broken, without_broken_kernels
from kdbench.suite import Suite


@pytest.mark.parametrize(("size", "stride"), [(8, 2), (7, 2), (9, (2, 3)), (5, (1, 2))])
def test_a_subsampled_convolution_has_the_values_and_gradients_of_the_strided_one(
    size: int, stride, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = nn.Conv2d(4, 6, 1, stride, bias=True).double()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    other = nn.Sequential(copy.deepcopy(conv))
    without_broken_kernels(other)
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


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_only_processors_without_avx512_are_changed_and_only_their_broken_layers(
    capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layers = [nn.Conv2d(4, 8, 1, 2), nn.Conv2d(8, 8, 1, 2), nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(4, 8, 1)]
    network = nn.Sequential(*layers)
    names = list(network.state_dict())
    without_broken_kernels(network)
    assert {type(layer) for layer in layers} == {nn.Conv2d}
    changed = [layer.stride == (1, 1) and bool(layer._forward_pre_hooks) for layer in layers]
    assert changed == [capability == "AVX2", False, False, False]
    assert list(network.state_dict()) == names


def test_the_smallest_network_of_digits_trains_with_images_channels_last(digits: Suite) -> None:
    """In a process whose heap is corrupted this test would not come to its end."""
    network = build_network(digits, "resnet8_w4", 0).to(memory_format=torch.channels_last)
    affected = torch.backends.cpu.get_cpu_capability() == "AVX2"
    assert any(isinstance(m, nn.Conv2d) and is_broken(m) for m in network.modules()) != affected
    for _ in range(20):
        network(torch.randn(64, 1, 8, 8).to(memory_format=torch.channels_last)).square().sum().backward()
