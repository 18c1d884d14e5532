"""Queries, keys and values are those that a transformer's blocks attend by."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.errors import NotApplicable
from kdbench.networks.build import build_network
from kdbench.networks.maps import feature_maps
from kdbench.networks.outputs import OutputReader
from kdbench.suite import Suite

IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def reader(network: Any) -> OutputReader:
    return OutputReader("teacher", network, {"attention", "features"}, feature_maps(network, IMAGES[:1]))


def test_a_blocks_attention_follows_from_its_queries_keys_and_values(digits: Suite) -> None:
    vit = build_network(digits, "vit_w32", seed=0).eval()
    attended: list[Tensor] = []
    vit.blocks[2].attn.proj.register_forward_pre_hook(lambda module, inputs: attended.append(inputs[0]))
    read = reader(vit)
    q, k, v = read(IMAGES).attention[2].unflatten(3, (4, 8)).transpose(2, 3)
    expected = ((q @ k.mT) / 8**0.5).softmax(dim=3) @ v
    assert torch.allclose(attended[-1], expected.transpose(1, 2).flatten(2), atol=1e-6)
    assert read.shapes(IMAGES[:1]).attention == ((4, 32, 4),) * 4


def test_a_network_without_attention_is_refused_in_words(digits: Suite) -> None:
    with pytest.raises(NotApplicable, match=r"the teacher, a CifarResNet, has no attention of .* in layer1"):
        reader(build_network(digits, "resnet8"))
