"""Outputs of timm's families: a representative dozen here, every family in benchmarks/timm_families.py."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest
import timm
import torch

from benchmarks.timm_families import check_outputs, check_training, suite_with
from kdbench.errors import KdbenchError, NotApplicable
from kdbench.method import Outputs
from kdbench.networks.build import build_network
from kdbench.networks.maps import FeatureMap, feature_maps, match_maps, stem_maps
from kdbench.networks.outputs import OutputReader
from kdbench.suites import load_suite
from kdbench.tables import Model

SWIN = {"window_size": 2, "embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)}
DOZEN: dict[str, dict[str, object]] = {
    "test_resnet": {},
    "test_efficientnet": {},
    "mobilenetv3_small_050": {},
    "test_convnext": {},
    "test_vit": {},
    "deit_tiny_distilled_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 4},  # two classifiers
    "test_byobnet": {},
    "test_nfnet": {},
    "ghostnet_050": {},
    "test_coatnet": {"img_size": 64},
    "test_mambaout": {},
    "swin_tiny_patch4_window7_224": {"img_size": 64, **SWIN},
}


@pytest.mark.parametrize("name", DOZEN)
def test_logits_embedding_and_maps_of_a_family_as_teacher_and_student(name: str) -> None:
    arguments = DOZEN[name]
    size = arguments.get("img_size", 32)
    suite = suite_with(Model.model_validate({"name": name, "input_size": (size, size), **arguments}))
    maps = feature_maps(build_network(suite, "it", seed=0), torch.zeros(1, 3, 32, 32))
    assert len(maps) >= 2
    torch.manual_seed(0)
    assert check_outputs(suite, maps) > 1
    assert check_training(suite, "it", "resnet8") == "ok"
    assert check_training(suite, "resnet8", "it") == "ok"


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "deit_tiny_distilled_patch16_224", "cifar_vgg8"])
def test_the_embedding_is_what_the_classifier_sees(name: str) -> None:
    arguments = {"img_size": 32} if name.startswith("deit") else {}
    suite = suite_with(Model.model_validate({"name": name, **arguments}))
    network = build_network(suite, "it", seed=0).eval()
    read = OutputReader("student", network, {"logits", "embedding"})
    outputs: Outputs = read(torch.randn(2, 3, 32, 32))
    classifier = network.get_classifier()
    if isinstance(classifier, torch.nn.Linear):
        assert torch.allclose(classifier(outputs.embedding), outputs.logits, atol=1e-5)
    else:
        assert outputs.embedding.shape == (2, classifier[0].in_features)  # beside one for distillation


PRE_ACTIVATED = [
    "cifar_resnet8",
    "cifar_resnet8x4",
    "cifar_resnet50",
    "cifar_wrn_16_1",
    "cifar_vgg8",
    "cifar_mobilenetv1",
    "cifar_shufflenetv1",
    "cifar_shufflenetv2",
    "cifar_densenet_40_12",
    "resnet10t",
    "resnet26",
]


@pytest.mark.parametrize("name", PRE_ACTIVATED)
def test_pre_activations_are_the_maps_before_their_last_relu(name: str) -> None:
    arguments = {} if name.startswith("cifar_") else {"zero_init_last": False}  # whose blocks would add nothing
    suite = suite_with(Model.model_validate({"name": name, **arguments}))
    network = build_network(suite, "it", seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = feature_maps(network, images)
    reader = OutputReader("student", network, {"features", "pre_activations"}, maps)
    outputs = reader(images)
    assert reader.shapes(images[:1]).pre_activations == tuple(m.shape for m in maps)
    for feature, before in zip(outputs.features, outputs.pre_activations, strict=True):
        assert before.min() < 0
        if name.startswith(("cifar_wrn", "cifar_densenet")):  # these maps come before the next block's norm and ReLU
            assert before.shape == feature.shape
        else:
            assert torch.equal(before.relu(), feature)


def test_a_pre_activation_block_is_read_after_its_next_norm() -> None:
    suite = suite_with(Model(name="cifar_wrn_16_1"))
    network = build_network(suite, "it", seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    *_, last = feature_maps(network, images)
    outputs = OutputReader("student", network, {"features", "pre_activations"}, [last])(images)
    norm = network.norm
    expected = torch.nn.functional.batch_norm(
        outputs.features[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    assert torch.allclose(outputs.pre_activations[0], expected, atol=1e-6)


def test_maps_that_end_in_no_relu_are_their_own_pre_activations() -> None:
    network = build_network(suite_with(Model(name="cifar_mobilenetv2")), "it", seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    reader = OutputReader("student", network, {"features", "pre_activations"}, feature_maps(network, images))
    outputs = reader(images)
    assert all(map(torch.equal, outputs.features, outputs.pre_activations))
    assert all(feature.min() < 0 for feature in outputs.features)


def test_a_teachers_pre_activations_are_read_without_its_maps() -> None:
    network = build_network(suite_with(Model(name="cifar_vgg8")), "it", seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    maps = feature_maps(network, images)
    outputs = OutputReader("teacher", network, {"pre_activations"}, maps)(images)
    both = OutputReader("teacher", network, {"features", "pre_activations"}, maps)(images)
    assert all(map(torch.equal, outputs.pre_activations, both.pre_activations))


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet"])
def test_a_model_that_declares_no_pre_activations_is_not_applicable(name: str) -> None:
    suite = suite_with(Model(name=name))
    network = build_network(suite, "it")
    maps = feature_maps(network, torch.zeros(1, 3, 32, 32))
    with pytest.raises(NotApplicable, match=r"the teacher, a \w+, declares no pre-activations of \w+"):
        OutputReader("teacher", network, {"pre_activations"}, maps)


@pytest.mark.parametrize(("name", "size"), [("digits_vit", 8), ("test_convnext", 32)])
def test_a_map_without_a_declared_pre_activation_stands_for_itself_beside_features(name: str, size: int) -> None:
    suite = load_suite("digits").model_copy(update={"models": {"it": Model(name=name)}})
    network = build_network(suite, "it", seed=0).eval()
    images = torch.randn(2, 1, size, size)
    reader = OutputReader("teacher", network, {"features", "pre_activations"}, feature_maps(network, images))
    outputs, shapes = reader(images), reader.shapes(images)
    assert shapes.pre_activations == shapes.features
    for feature, before in zip(outputs.features, outputs.pre_activations, strict=True):
        assert torch.equal(feature, before)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "resnet18", "img_size": 32}, "Suite 'cifar100', models.it: 'resnet18' takes no argument 'img_size'"),
        ({"name": "vit_tiny_patch16_224", "patchsize": 4}, "no argument 'patchsize'. Did you mean 'patch_size'?"),
        ({"name": "cifar_resnet8", "width": 4}, "no argument 'width'. Did you mean 'widths'?"),
        ({"name": "mixer_s16_224", "patch_size": 4}, "'mixer_s16_224' sets 'patch_size' itself"),
        ({"name": "poolformerv2_s12", "dept": 2}, "'poolformerv2_s12' takes no argument 'dept'."),
        ({"name": "test_vit", "img_size": [32]}, "timm cannot build 'test_vit'"),
        ({"name": "resnet18", "num_classes": 5}, "'num_classes' is no argument of a suite's model: data.num_classes"),
        ({"name": "resnet18", "checkpoint_path": "mine.pth"}, "'checkpoint_path' is no argument of a suite's model"),
        ({"name": "resnet18", "pretrained_cfg_overlay": {"file": "/mine.pth"}}, "no key would know the weights"),
        ({"name": "resnet18", "pretrained_strict": False}, "no key would know the weights"),
        ({"name": "resnet19"}, "timm has no model 'resnet19'. Did you mean 'resnet18'?"),
        ({"name": "vit_tiny_patch16_224", "img_size": 30, "patch_size": 7, "embed_dim": 10}, "timm cannot build"),
    ],
)
def test_wrong_arguments_are_one_line(model: dict[str, object], said: str) -> None:
    with pytest.raises(KdbenchError) as caught:
        build_network(suite_with(Model.model_validate(model)), "it")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_input_size_says_which_arguments_may_help() -> None:
    network = build_network(suite_with(Model(name="vit_tiny_patch16_224")), "it")
    with pytest.raises(KdbenchError, match=r"does not take 3x32x32 images: .*img_size or patch_size"):
        feature_maps(network, torch.zeros(1, 3, 32, 32))


STEMS: dict[str, tuple[str | None, dict[str, Any]]] = {  # of each family: the module of its stem, and arguments
    "cifar_resnet8": ("act1", {}),
    "cifar_resnet50": ("act1", {}),
    "cifar_wrn_16_1": ("conv1", {}),
    "cifar_vgg8": ("layer1", {}),
    "cifar_mobilenetv1": ("conv1", {}),
    "cifar_mobilenetv2": ("conv1", {}),
    "cifar_shufflenetv1": ("conv1", {}),
    "cifar_shufflenetv2": ("conv1", {}),
    "cifar_densenet_40_12": ("conv1", {}),
    "test_resnet": ("act1", {}),
    "test_byobnet": ("stem", {}),
    "test_nfnet": ("stem.conv3", {}),
    "mobilenetv3_small_050": ("bn1", {}),
    "mobilenetv1_100": ("blocks.0", {}),  # half as large as the image, and as the stem's
    "test_convnext": (None, {}),
    "test_vit": (None, {"img_size": 32}),
    "gmlp_ti16_224": (None, {"img_size": 32}),
    "swin_tiny_patch4_window7_224": (None, {"img_size": 64, **SWIN}),
    "levit_128s": (None, {"img_size": 32}),
}


@cache
def offered(name: str) -> tuple[list[FeatureMap], list[FeatureMap], int]:
    """The stem and the stages of a family's model, and how many maps it has; without memory for weights."""
    _, arguments = STEMS[name]
    size = arguments.get("img_size", 32)
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=10, **arguments).eval()
        example = torch.zeros(1, 3, size, size)
        maps = network.forward_intermediates(example, intermediates_only=True)
    return stem_maps(network, example), feature_maps(network, example), len(maps)


@pytest.mark.parametrize("name", STEMS)
def test_a_familys_stem_is_none_of_its_stages_and_its_last_map_is_the_last_stages(name: str) -> None:
    stem, stages, count = offered(name)
    assert [m.name for m in stem] == ([STEMS[name][0]] if STEMS[name][0] else [])
    assert all(m.index > s.index for m in stages for s in stem)
    assert stages[-1].index == count - 1


def test_of_any_two_families_all_stages_of_one_are_matched_in_order_the_last_with_the_last() -> None:
    for one, other in product(STEMS, STEMS):
        (_, student, _), (_, teacher, _) = offered(one), offered(other)
        pairs = match_maps(student, teacher)
        assert pairs[-1] == (student[-1], teacher[-1])
        assert len(pairs) == min(len(student), len(teacher))
        for side in zip(*pairs, strict=True):
            assert sorted({m.index for m in side}) == [m.index for m in side], (one, other)


def test_stages_that_a_small_image_leaves_at_one_size_stay_stages() -> None:
    network = build_network(suite_with(Model(name="test_resnet")), "it")
    assert [m.name for m in feature_maps(network, torch.zeros(1, 3, 8, 8))] == [f"layer{i}" for i in (1, 2, 3, 4)]


def test_the_maps_of_every_pair_of_stock_models_can_be_matched() -> None:
    suite = load_suite("cifar100-timm")
    maps = {name: feature_maps(build_network(suite, name), torch.zeros(1, 3, 32, 32)) for name in suite.models}
    for pair in suite.pairs:
        assert len(match_maps(maps[pair.student], maps[pair.teacher])) >= 2, pair
