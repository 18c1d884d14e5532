"""The CIFAR networks: their counts and maps, timm's interfaces on each, and what their builders refuse."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import kdbench.models  # noqa: F401  (registers the networks)
from kdbench.networks.build import count_macs, count_parameters

Maps = list[tuple[int, int]]
NARROW: Maps = [(16, 32), (16, 32), (32, 16), (64, 8)]
WIDE: Maps = [(32, 32), (64, 32), (128, 16), (256, 8)]
VGG: Maps = [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)]
BOTTLENECK: Maps = [(64, 32), (256, 32), (512, 16), (1024, 8), (2048, 4)]
BASIC: Maps = [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]


def wide(factor: int) -> Maps:
    return [(16, 32), (16 * factor, 32), (32 * factor, 16), (64 * factor, 8)]


# Parameters, million multiply-accumulates and the maps (channels, side) at 100 classes and 3 x 32 x 32, as the common
# code of the distillation papers (RepDistiller) counts them. Those written as a sum are the counts that others publish
# at 10 classes (of ResNeXt-29 the paper says 34.4M), and what 90 more classes add.
FACTS: dict[str, tuple[int, float, Maps]] = {
    "cifar_resnet8": (83_892, 12.5, NARROW),
    "cifar_resnet14": (181_108, 26.7, NARROW),
    "cifar_resnet20": (278_324, 40.8, NARROW),
    "cifar_resnet26": (375_540, 55.0, NARROW),
    "cifar_resnet32": (472_756, 69.1, NARROW),
    "cifar_resnet44": (667_188, 97.4, NARROW),
    "cifar_resnet56": (861_620, 125.8, NARROW),
    "cifar_resnet110": (1_736_564, 253.2, NARROW),
    "cifar_resnet8x4": (1_233_540, 177.1, WIDE),
    "cifar_resnet32x4": (7_433_860, 1083.0, WIDE),
    "cifar_resnet18": (11_173_962 + 90 * 513, 555.5, BASIC),
    "cifar_resnet34": (21_282_122 + 90 * 513, 1159.4, BASIC),
    "cifar_resnet50": (23_705_252, 1298.0, BOTTLENECK),
    "cifar_resnext29": (34_426_698 + 90 * 1025, 5387.4, [(64, 32), (256, 32), (512, 16), (1024, 8)]),
    "cifar_wrn_16_1": (180_916, 26.7, wide(1)),
    "cifar_wrn_16_2": (703_284, 101.1, wide(2)),
    "cifar_wrn_16_4": (2_772_020, 392.6, wide(4)),
    "cifar_wrn_16_8": (11_007_540, 1548.2, wide(8)),
    "cifar_wrn_28_2": (1_479_220, 214.4, wide(2)),
    "cifar_wrn_28_4": (5_872_180, 845.6, wide(4)),
    "cifar_wrn_28_10": (36_479_194 + 90 * 641, 5243.4, wide(10)),
    "cifar_wrn_40_1": (569_780, 83.3, wide(1)),
    "cifar_wrn_40_2": (2_255_156, 327.6, wide(2)),
    "cifar_wrn_40_4": (8_949_210 + 90 * 257, 1298.6, wide(4)),
    "cifar_vgg8": (3_965_028, 96.2, VGG),
    "cifar_vgg11": (9_277_284, 209.4, VGG),
    "cifar_vgg13": (9_462_180, 284.9, VGG),
    "cifar_vgg16": (14_774_436, 398.2, VGG),
    "cifar_vgg19": (20_086_692, 511.4, VGG),
    "cifar_mobilenetv1": (3_217_226 + 90 * 1025, 46.4, [(32, 32), (64, 32), (128, 16), (256, 8), (512, 4), (1024, 2)]),
    "cifar_mobilenetv2": (812_836, 6.5, [(16, 16), (12, 16), (16, 8), (48, 4), (160, 2)]),
    "cifar_shufflenetv1": (949_258, 38.7, [(24, 32), (240, 16), (480, 8), (960, 4)]),
    "cifar_shufflenetv2": (1_355_528, 44.5, [(24, 32), (116, 16), (232, 8), (464, 4)]),
    "cifar_resnet20_x05": (71_756, 10.3, [(8, 32), (8, 32), (16, 16), (32, 8)]),
    "cifar_resnet152": (58_156_618 + 90 * 2049, 3722.3, BOTTLENECK),
    "cifar_resnext50_32x4d": (
        25_028_904 - 900 * 2049 - 64 * 3 * (49 - 9),
        1344.2,
        BOTTLENECK,
    ),
    "cifar_plain18": (11_173_962 + 90 * 513, 555.5, BASIC),
    "cifar_plain34": (21_282_122 + 90 * 513, 1159.4, BASIC),
    "cifar_alexnet": (2_472_266 + 90 * 257, 15.0, [(64, 8), (192, 4), (384, 2), (256, 2), (256, 2)]),
    "cifar_convnet3": (320_010 + 90 * 2049, 50.9, [(128, 32), (128, 16), (128, 8)]),
    "cifar_densenet_40_12": (1_019_722 + 90 * 449, 264.9, [(16, 32), (160, 32), (304, 16), (448, 8)]),
}
ONE_A_FAMILY = [
    "cifar_resnet14",
    "cifar_wrn_16_1",
    "cifar_vgg8",
    "cifar_mobilenetv1",
    "cifar_mobilenetv2",
    "cifar_shufflenetv1",
    "cifar_shufflenetv2",
    "cifar_densenet_40_12",
    "cifar_plain18",
    "cifar_alexnet",
]
every_network = pytest.mark.parametrize("name", timm.list_models("cifar_*"))
one_a_family = pytest.mark.parametrize("name", ONE_A_FAMILY)


def build(name: str, seed: int = 0, **arguments: Any) -> Any:
    torch.manual_seed(seed)
    return timm.create_model(name, **{"num_classes": 100, "in_chans": 3, **arguments})


def on_meta(name: str, **arguments: Any) -> Any:
    """The network without memory for weights: enough to count and to follow shapes."""
    with torch.device("meta"):
        return build(name, **arguments).eval()


def equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def gradients(network: nn.Module, images: Tensor) -> list[Tensor]:
    parameters = list(network.parameters())
    return list(torch.autograd.grad(network(images).square().mean(), parameters))


def test_the_networks_of_the_literature_are_registered() -> None:
    assert set(timm.list_models("cifar_*")) == set(FACTS)


@every_network
def test_counts_and_maps_are_those_of_the_original(name: str) -> None:
    parameters, million_macs, maps = FACTS[name]
    network, image = on_meta(name), torch.zeros(1, 3, 32, 32, device="meta")
    assert count_parameters(network) == parameters
    assert count_macs(network, image) / 1e6 == pytest.approx(million_macs, abs=0.05)
    assert [tuple(m.shape) for m in network.forward_intermediates(image)[1]] == [(1, c, s, s) for c, s in maps]


@every_network
def test_timms_interfaces_agree(name: str) -> None:
    side = 32 if name == "cifar_convnet3" else 16  # whose linear layer is for one size
    network, images = build(name).eval(), torch.randn(2, 3, side, side)
    with torch.no_grad():
        features = network.forward_features(images)
        final, maps = network.forward_intermediates(images)
        embedding, logits = network.forward_head(features, pre_logits=True), network(images)
        last_two = network.forward_intermediates(images, indices=2, intermediates_only=True)
        early, first = network.forward_intermediates(images, indices=[0, 1], stop_early=True)
        network_end = nn.Sequential(*(getattr(network, entry["module"]) for entry in network.feature_info[2:]))
        assert torch.equal(network_end(early), maps[-1])
    assert torch.equal(final, features)
    assert torch.equal(logits, network.forward_head(features))
    assert torch.equal(logits, network.get_classifier()(embedding))
    assert embedding.shape == (2, network.num_features) == (2, network.head_hidden_size)
    assert [m.shape[1] for m in maps] == [entry["num_chs"] for entry in network.feature_info]
    assert [side / m.shape[-1] for m in maps] == [entry["reduction"] for entry in network.feature_info]
    assert equal(last_two, maps[-2:])
    assert equal(first, maps[:2])
    assert torch.equal(early, maps[1])


@every_network
def test_the_classifier_can_be_replaced(name: str) -> None:
    network, images = on_meta(name, in_chans=1, num_classes=7), torch.zeros(2, 1, 32, 32, device="meta")
    assert network(images).shape == (2, 7)
    with torch.device("meta"):
        network.reset_classifier(3)
    assert network(images).shape == (2, 3)
    assert network.num_classes == network.get_classifier().out_features == 3
    network.reset_classifier(0)
    assert network(images).shape == (2, network.num_features)


@every_network
def test_the_configuration_names_the_networks_ends(name: str) -> None:
    network = on_meta(name)
    assert isinstance(network.get_submodule(network.default_cfg["first_conv"]), nn.Conv2d)
    assert network.get_submodule(network.default_cfg["classifier"]) is network.get_classifier()
    assert network.default_cfg["input_size"] == (3, 32, 32)


@pytest.mark.parametrize("name", [name for name, (parameters, _, _) in FACTS.items() if parameters < 4e6])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = build(name).train()
    for (key, _), gradient in zip(
        network.named_parameters(), gradients(network, torch.randn(4, 3, 32, 32)), strict=True
    ):
        assert gradient.isfinite().all(), key
        assert gradient.any() or key.endswith("bias"), (
            key
        )  # batch norm takes away the bias of the convolution before it


@one_a_family
def test_checkpointing_leaves_the_gradients(name: str) -> None:
    network, images = build(name).train(), torch.randn(4, 3, 32, 32)
    plain = gradients(network, images)
    network.set_grad_checkpointing()
    torch.testing.assert_close(gradients(network, images), plain)


@one_a_family
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = (list(build(name, seed).parameters()) for seed in (1, 1, 2))
    assert equal(first, again)
    assert not equal(first, other)


@one_a_family
def test_the_input_may_have_another_size(name: str) -> None:
    assert on_meta(name)(torch.zeros(1, 3, 64, 64, device="meta")).shape == (1, 100)


@one_a_family
def test_timms_feature_extractor_gives_the_maps(name: str) -> None:
    network, images = build(name).eval(), torch.randn(1, 3, 32, 32)
    extractor = build(name, features_only=True).eval()
    with torch.no_grad():
        assert equal(extractor(images), network.forward_intermediates(images, indices=4, intermediates_only=True))


@pytest.mark.parametrize("name", ["cifar_wrn_16_1", "cifar_densenet_40_12"])
def test_the_last_map_can_be_taken_after_the_norm(name: str) -> None:
    network, images = build(name).eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        final, normed = network.forward_intermediates(images, norm=True)
        _, maps = network.forward_intermediates(images)
    assert torch.equal(normed[-1], final)
    assert equal(normed[:-1], maps[:-1])
    assert not torch.equal(maps[-1], final)


@one_a_family
def test_unknown_arguments_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="wdith"):
        build(name, wdith=2)


def test_indices_beyond_the_maps_are_refused() -> None:
    with pytest.raises(AssertionError, match="out of range"):
        build("cifar_resnet8").forward_intermediates(torch.zeros(1, 3, 32, 32), indices=[4])


def test_other_layouts_of_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="NCHW"):
        build("cifar_resnet8").forward_intermediates(torch.zeros(1, 3, 32, 32), output_fmt="NLC")


@pytest.mark.parametrize("name", ["cifar_wrn_16_1", "cifar_densenet_40_12"])
def test_impossible_depths_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not 21"):
        build(name, depth=21)


def test_a_vgg_of_a_quarter_of_the_width_has_the_students_maps() -> None:
    network = timm.create_model("cifar_vgg8", num_classes=100, width=16)
    assert sum(p.numel() for p in network.parameters()) == 258_660
    maps = network.forward_intermediates(torch.zeros(1, 3, 16, 16), intermediates_only=True)
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 16, 16), (32, 8, 8), (64, 4, 4), (128, 2, 2), (128, 2, 2)]
