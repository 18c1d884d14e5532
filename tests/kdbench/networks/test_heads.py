"""Class maps are logits before the mean over positions; heads on two tokens each say their own."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from kdbench.errors import NotApplicable
from kdbench.networks.outputs import OutputReader

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(name: str, **arguments: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5, **arguments).eval()


# with and without convolutions between the last stage and the mean
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_nfnet"])
def test_their_mean_is_the_logits(name: str) -> None:
    reader = OutputReader("student", network(name), {"logits", "class_maps"})
    outputs = reader(IMAGES)
    assert torch.allclose(outputs.class_maps.mean(dim=(2, 3)), outputs.logits, atol=1e-5)
    assert reader.shapes(IMAGES[:1]).class_maps == tuple(outputs.class_maps.shape[1:])
    assert outputs.class_maps.shape[1] == 5


def test_channels_may_come_last() -> None:
    swin = network("swin_tiny_patch4_window7_224", img_size=64, window_size=2, depths=(1, 1, 1, 1), embed_dim=12)
    outputs = OutputReader("student", swin, {"logits", "class_maps"})(IMAGES)
    assert outputs.class_maps.shape == (2, 5, 2, 2)
    assert torch.allclose(outputs.class_maps.mean(dim=(2, 3)), outputs.logits, atol=1e-5)


def test_a_loss_on_them_trains_the_classifier_and_what_is_before_it() -> None:
    model = network("test_resnet")
    OutputReader("student", model, {"class_maps"})(IMAGES).class_maps.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    "name",
    ["test_vit", "test_convnext"],  # a class token; a norm between the mean and the classifier
)
def test_other_classifiers_are_refused_in_words_that_name_the_network(name: str) -> None:
    model = network(name, **({"img_size": 64} if "vit" in name else {}))
    with pytest.raises(NotApplicable, match=rf"the teacher, a {type(model).__name__}, has no class maps"):
        OutputReader("teacher", model, {"class_maps"}).shapes(IMAGES[:1])
    assert not model.training


def test_each_of_two_heads_says_its_own_and_their_mean_is_the_logits() -> None:
    model = network("deit_tiny_distilled_patch16_224", img_size=64, embed_dim=12, depth=1, num_heads=2)
    reader = OutputReader("student", model.train(), {"logits", "head_logits"})
    outputs = reader(IMAGES)
    assert [z.shape for z in outputs.head_logits] == [(2, 5), (2, 5)]
    assert torch.allclose(torch.stack(outputs.head_logits).mean(dim=0), outputs.logits, atol=1e-6)
    assert not torch.equal(*outputs.head_logits)
    assert "head_logits" not in reader.shapes(IMAGES[:1])._values


def test_a_network_of_one_head_is_refused_in_words() -> None:
    with pytest.raises(NotApplicable, match="the student, a ResNet, has no distillation token"):
        OutputReader("student", network("test_resnet"), {"head_logits"})
