"""The built-in suites: they load, their pairs' networks match, and what the sources print is what they say."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch

import kdbench.models  # noqa: F401  (registers the networks)
from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.hashing import labels_sha256
from kdbench.networks.maps import FeatureMap, feature_maps, match_maps, paired_by, pre_activations
from kdbench.plugins import load_method
from kdbench.running.plan import resolve_params
from kdbench.schedule import learning_rate
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite, load_test_labels
from kdbench.tables import Pair

SUITES = list_suites()


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_bears_the_name_of_its_file_and_uses_all_its_models(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    between = {model for models in suite.assistants.values() for model in models}
    assert set(suite.models) == {model for pair in suite.pairs for model in (pair.teacher, pair.student)} | between


@cache
def stages(suite_name: str, model: str) -> list[FeatureMap]:
    """The stages of a suite's model, without memory for its weights."""
    suite = load_suite(suite_name)
    spec = suite.models[model]
    with torch.device("meta"):
        network = timm.create_model(spec.name, in_chans=suite.data.channels, **spec.arguments)
        return feature_maps(network, torch.zeros(1, suite.data.channels, *(spec.input_size or suite.data.image_size)))


@pytest.mark.parametrize("name", [name for name in SUITES if load_suite(name).distilled is None])
def test_the_last_maps_of_every_pair_face_each_other(name: str) -> None:
    for pair in load_suite(name).pairs:
        student, teacher = stages(name, pair.student), stages(name, pair.teacher)
        matched = match_maps(student, teacher)
        assert len(matched) >= 3, pair
        assert matched[-1] == (student[-1], teacher[-1]), pair


# Channels and side of what the common code (HobbitLong/RepDistiller, commit b84f547c5db6a35318d4671d7d5c4de74c822403)
# gives its methods, `feat[1:-1]` of each network, which it pairs by position.
Stages = tuple[tuple[int, int], ...]
THREE: dict[str, Stages] = {"resnet": ((16, 32), (32, 16), (64, 8)), "x4": ((64, 32), (128, 16), (256, 8))}
LITERATURE: dict[str, Stages] = {
    "wrn_40_2": ((32, 32), (64, 16), (128, 8)),
    "wrn_16_2": ((32, 32), (64, 16), (128, 8)),
    "wrn_40_1": THREE["resnet"],
    **dict.fromkeys(("resnet20", "resnet32", "resnet56", "resnet110"), THREE["resnet"]),
    **dict.fromkeys(("resnet8x4", "resnet32x4"), THREE["x4"]),
    **dict.fromkeys(("vgg8", "vgg13"), ((128, 16), (256, 8), (512, 4), (512, 4))),
    "resnet50": ((256, 32), (512, 16), (1024, 8), (2048, 4)),
    "mobilenetv2": ((12, 16), (16, 8), (48, 4), (160, 2)),
    "shufflenetv1": ((240, 16), (480, 8), (960, 4)),
    "shufflenetv2": ((116, 16), (232, 8), (464, 4)),
}


@pytest.mark.parametrize("pair", load_suite("cifar100").pairs, ids=str)
def test_the_maps_of_the_standard_pairs_are_those_of_the_literature(pair: Pair) -> None:
    student, teacher = stages("cifar100", pair.student), stages("cifar100", pair.teacher)
    found = [(s.shape, t.shape) for s, t in match_maps(student, teacher)]
    expected = zip(LITERATURE[pair.student], LITERATURE[pair.teacher], strict=True)
    assert found == [((s, side_s, side_s), (t, side_t, side_t)) for (s, side_s), (t, side_t) in expected]
    assert paired_by(student, teacher) == "position"


def test_the_imagenet_pair_across_families_skips_the_half_size_map_of_mobilenet() -> None:
    pairs = match_maps(stages("imagenet", "mobilenetv1"), stages("imagenet", "resnet50"))
    sizes = [(s.shape[0], s.shape[1], t.shape[0], t.shape[1]) for s, t in pairs]
    assert sizes == [(128, 56, 256, 56), (256, 28, 512, 28), (512, 14, 1024, 14), (1024, 7, 2048, 7)]


def test_the_teachers_of_the_literature_declare_what_comes_before_their_relus() -> None:
    for suite in map(load_suite, ("cifar10", "cifar100", "cifar100-survey", "imagenet", "tiny_imagenet")):
        for teacher in {pair.teacher for pair in suite.pairs}:
            with torch.device("meta"):
                declared = pre_activations(timm.create_model(suite.models[teacher].name))
            assert {m.name for m in stages(suite.name, teacher)} <= declared.keys(), teacher


def test_the_standard_protocol_drops_the_rate_after_epochs_150_180_and_210() -> None:
    recipe = load_suite("cifar100").recipe_of("resnet20")
    rates = [learning_rate(recipe, epoch * 782, 782) for epoch in range(240)]
    assert rates[:150] == [0.05] * 150
    assert rates[150:180] == pytest.approx([0.005] * 30)
    assert rates[180:210] == pytest.approx([0.0005] * 30)
    assert rates[210:] == pytest.approx([0.00005] * 30)


@pytest.mark.parametrize("student", ["mobilenetv2", "shufflenetv1", "shufflenetv2"])
def test_mobile_students_start_at_a_fifth_of_the_rate(student: str) -> None:
    assert load_suite("cifar100").recipe_of(student).learning_rate == 0.01


def test_the_standard_suite_has_seven_pairs_of_one_family_and_six_across() -> None:
    def family(model: str) -> str:
        wide = {"resnet32x4": "resnet", "resnet8x4": "resnet"}
        return wide.get(model, model.rstrip("0123456789").split("_")[0])

    pairs = load_suite("cifar100").pairs
    across = [pair for pair in pairs if family(pair.teacher) != family(pair.student)]
    assert (len(pairs), len(across)) == (13, 6)


@pytest.mark.parametrize("name", SUITES)
def test_the_values_that_a_suite_sets_are_parameters_of_its_methods(name: str) -> None:
    suite = load_suite(name)
    for method in suite.methods:
        for pair in suite.pairs:
            resolve_params(load_method(method), suite, pair, {})


@pytest.mark.parametrize(
    ("suite", "method", "parameter", "expected"),
    [
        ("cifar100", "dkd", "non_target_weight", {"resnet56:resnet20": 2, "vgg13:vgg8": 6, "resnet32x4:resnet8x4": 8}),
        ("cifar100", "reviewkd", "review_weight", {"resnet110:resnet32": 1, "wrn_40_2:wrn_16_2": 5}),
        ("cifar100", "kd_ls", "temperature", {"vgg13:vgg8": 3, "resnet110:resnet20": 4, "resnet56:resnet20": 2}),
        ("cifar100", "kd_ls", "kd_weight", {"resnet50:mobilenetv2": 1, "resnet110:resnet20": 12, "vgg13:vgg8": 9}),
        ("cifar100-survey", "kd_ls", "temperature", {"wrn_40_2:mobilenetv2": 3, "wrn_40_2:wrn_16_2": 2}),
        ("cifar100-fast", "nkd", "non_target_weight", {"vgg13:vgg8": 3.5}),
        ("cifar100", "wsld", "temperature", {"vgg13:vgg8": 4}),
        ("cifar100", "ft", "paraphrase_learning_rate", {"vgg13:vgg8": 0.05, "resnet56:resnet20": 0.01}),
        ("imagenet", "reviewkd", "max_width", {"resnet34:resnet18": 512, "resnet50:mobilenetv1": 256}),
        ("imagenet", "dkd", "non_target_weight", {"resnet34:resnet18": 0.5, "resnet50:mobilenetv1": 2}),
        ("imagenet", "kd", "temperature", {"resnet34:resnet18": 1, "resnet50:mobilenetv1": 1}),
    ],
)
def test_weights_are_those_that_the_authors_tuned_for_the_pair(
    suite: str, method: str, parameter: str, expected: dict[str, float]
) -> None:
    found = load_suite(suite)
    params = {str(pair): resolve_params(load_method(method), found, pair, {})[0] for pair in found.pairs}
    assert {pair: params[pair][parameter] for pair in expected} == expected
    assert found.override(method, None)[1].source.startswith("paper")


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_a_shortened_run_starts_at_the_full_rate(epochs: int) -> None:
    recipe = load_suite("cifar100").with_epochs(epochs).recipe_of()
    assert learning_rate(recipe, 0, 782) == 0.05


ALIKE = [f"cifar100{more}" for more in ("", "-fast", "-survey", "-tasks")]
BOARD = ["digits", "digits-tasks", "cifar100-quarter", "fashion_mnist", *ALIKE]


@pytest.mark.parametrize("name", BOARD)
def test_the_board_has_the_test_labels_of_suites_whose_data_are_known(name: str) -> None:
    suite = load_suite(name)
    labels = load_test_labels(suite)
    assert len(labels) == suite.data.test
    assert labels_sha256(labels) == suite.data.test_labels_sha256
    assert labels.max() == suite.data.num_classes - 1


@pytest.mark.parametrize("name", ["cifar10", "tiny_imagenet", "imagenet"])
def test_a_suite_whose_data_are_not_known_is_not_for_the_board(name: str) -> None:
    with pytest.raises(KdbenchError, match="not for the board"):
        load_test_labels(load_suite(name))


def test_suites_on_one_data_set_share_its_content() -> None:
    contents = {load_suite(name).data for name in (*ALIKE, "cifar100-timm")}
    assert len(contents) == 1


@pytest.fixture
def cifar100() -> Suite:
    return load_suite("cifar100")


def test_cifar100_has_the_published_means(cifar100: Suite, real_data: None) -> None:
    pixels = load_data(cifar100.data).train_images.double() / 255
    assert pixels.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.50707516, 0.48654887, 0.44091784], abs=1e-7)
    assert pixels.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx(
        [0.26733429, 0.25643846, 0.27615047], abs=1e-7
    )


def test_the_quarter_has_the_means_of_its_pixels_and_students_see_a_quarter_of_them(real_data: None) -> None:
    data = load_suite("cifar100-quarter").data
    pixels = load_data(data.for_teachers).train_images.double() / 255
    assert pixels.mean(dim=(0, 2, 3)).tolist() == pytest.approx(data.mean, abs=1e-4)
    assert pixels.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx(data.std, abs=1e-4)
    assert load_data(data).train_labels.bincount().tolist() == [125] * 100
