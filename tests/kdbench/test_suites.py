"""The built-in suites: they load, their pairs' networks match, and what the sources print is what they say."""

from __future__ import annotations

import pytest
import torch

from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.hashing import labels_sha256
from kdbench.networks.build import build_network
from kdbench.networks.outputs import feature_maps, match_maps
from kdbench.plugins import load_method
from kdbench.running.plan import resolve_params
from kdbench.schedule import learning_rate
from kdbench.suite import Suite, list_suites, load_suite, load_test_labels

SUITES = list_suites()


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_bears_the_name_of_its_file_and_uses_all_its_models(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    between = {model for models in suite.assistants.values() for model in models}
    assert set(suite.models) == {model for pair in suite.pairs for model in (pair.teacher, pair.student)} | between


@pytest.mark.parametrize("name", ["cifar100", "fashion_mnist", "tiny_imagenet"])
def test_the_maps_of_every_pair_can_be_matched(name: str) -> None:
    suite = load_suite(name)
    example = torch.zeros(1, suite.data.channels, *suite.data.image_size)
    maps = {model: feature_maps(build_network(suite, model), example) for model in suite.models}
    for pair in suite.pairs:
        assert len(match_maps(maps[pair.student], maps[pair.teacher])) >= 2, pair


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


BOARD = ["digits", "cifar100", "cifar100-fast", "cifar100-quarter", "cifar100-survey", "fashion_mnist"]


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
    contents = {load_suite(name).data for name in ("cifar100", "cifar100-fast", "cifar100-survey", "cifar100-timm")}
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
