"""A network with an input size or normalisation of its own sees the same images, resized and normalised for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import sobel
from timm.task.distillation import DistillationTeacher
from torch import nn

from kdbench.data.small import Dataset
from kdbench.errors import KdbenchError
from kdbench.networks.build import build_network, count_macs
from kdbench.networks.inputs import as_seen
from kdbench.networks.maps import feature_maps
from kdbench.networks.modalities import luminance
from kdbench.networks.outputs import OutputReader
from kdbench.plugins import load_method
from kdbench.running.plan import Cell
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model, Pair

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)


@pytest.fixture
def suite() -> Suite:
    """CIFAR images, and a ResNet that wants them larger and otherwise normalised."""
    suite = load_suite("cifar100")
    own = Model.model_validate({"name": "cifar_resnet8", "input_size": (48, 40), "mean": MEAN, "std": STD})
    recipe = suite.recipe.model_copy(update={"precision": "float32", "batch_size": 4})
    models = {"plain": Model(name="cifar_resnet8"), "own": own}
    return suite.model_copy(update={"models": models, "recipe": recipe})


def test_a_network_without_an_input_of_its_own_sees_the_images_as_they_are(suite: Suite) -> None:
    images = torch.randn(2, 3, 32, 32)
    assert as_seen(build_network(suite, "plain"), images) is images
    assert as_seen(nn.Flatten(), images) is images


def test_pixels_are_normalised_by_the_networks_own_mean_and_deviation(suite: Suite) -> None:
    spec = suite.models["own"].model_copy(update={"input_size": None})
    network = build_network(suite.model_copy(update={"models": {"own": spec}}), "own")
    pixels = torch.rand(2, 3, 32, 32)

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    seen = as_seen(network, normalised(suite.data.mean, suite.data.std))
    assert torch.allclose(seen, normalised(MEAN, STD), atol=1e-5)


def test_maps_strides_and_macs_are_those_of_the_networks_own_size(suite: Suite) -> None:
    network, example = build_network(suite, "own"), torch.zeros(1, 3, 32, 32)
    maps = feature_maps(network, example)
    assert [m.stride for m in maps] == [1, 2, 4]
    assert maps[0].shape == (16, 48, 40)
    assert count_macs(network, example) > 1.8 * count_macs(build_network(suite, "plain"), example)


def test_all_outputs_are_those_of_the_images_resized_by_hand(suite: Suite) -> None:
    network = build_network(suite, "own", seed=0).eval()
    plain = build_network(suite, "plain", seed=0).eval()
    images = torch.randn(2, 3, 32, 32)
    by_hand = as_seen(network, images)
    renormalised = images * network.own_input.scale + network.own_input.shift
    assert torch.equal(by_hand, F.interpolate(renormalised, (48, 40), mode="bicubic", antialias=True))
    found = OutputReader("teacher", network, {"logits", "embedding"})(images)
    expected = OutputReader("teacher", plain, {"logits", "embedding"})(by_hand)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.embedding, expected.embedding)


@pytest.mark.parametrize(("student", "teacher"), [("plain", "own"), ("own", "plain")])
def test_a_pair_of_networks_of_different_sizes_trains(student: str, teacher: str, suite: Suite) -> None:
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, torch.arange(12), images[:4], torch.arange(4))
    params = load_method("at").Params().model_dump()
    cell = Cell("cell", suite, "at", 1, "", student=student, seed=0, params=params)
    frozen = build_network(suite, teacher, seed=1).eval().requires_grad_(False)
    trainer, _ = prepare(cell, data, [frozen], torch.device("cpu"))
    terms = trainer.train_epoch(0)
    assert terms["attention"] > 0
    assert trainer.predict().shape == (4, 100)
    assert not any(name.startswith("student.own_input") for name in trainer.tensors())  # no weights of its own


def with_pretrained_teacher(suite: Suite, **model: object) -> Suite:
    models = {"it": Model.model_validate(model), "plain": Model(name="cifar_resnet8")}
    pairs = (Pair(teacher="it", student="plain"),)
    return suite.model_copy(update={"teachers": "pretrained", "models": models, "pairs": pairs})


def test_a_pretrained_teacher_sees_the_size_and_normalisation_of_its_weights_as_in_timms_tasks(suite: Suite) -> None:
    teacher = build_network(with_pretrained_teacher(suite, name="test_resnet"), "it")
    images = torch.randn(2, 3, 32, 32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (suite.data.mean, suite.data.std))
    normalised = DistillationTeacher(teacher).normalize_input(images, mean, std)
    expected = F.interpolate(normalised, (160, 160), mode="bicubic", antialias=True)
    assert torch.allclose(as_seen(teacher, images), expected, atol=1e-5)


def test_what_the_suite_says_of_a_pretrained_teachers_input_holds(suite: Suite) -> None:
    own = with_pretrained_teacher(suite, name="test_vit", img_size=32, mean=suite.data.mean, std=suite.data.std)
    images = torch.randn(2, 3, 32, 32)
    assert as_seen(build_network(own, "it"), images) is images
    assert as_seen(build_network(own, "plain"), images) is images


def test_weights_for_other_classes_are_refused_before_they_are_fetched(suite: Suite) -> None:
    pretrained = with_pretrained_teacher(suite, name="resnet18.tv_in1k")
    with pytest.raises(KdbenchError, match=r"'resnet18[.]tv_in1k' are for 1000 classes, and the data have 100"):
        build_network(pretrained, "it", pretrained=True)


def test_a_specification_without_an_input_of_its_own_keeps_its_hash() -> None:
    assert Model(name="cifar_resnet8").identity == {"name": "cifar_resnet8"}
    assert Model.model_validate({"name": "x", "img_size": 32}).identity == {"name": "x", "img_size": 32}


def with_modality(suite: Suite, modality: str, **own: object) -> Suite:
    spec = Model.model_validate({"name": "cifar_resnet8", "modality": modality, **own})
    return suite.model_copy(update={"models": {**suite.models, "other": spec}})


def normalised(pixels: torch.Tensor, suite: Suite) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (suite.data.mean, suite.data.std))
    return (pixels - mean) / std


@pytest.mark.parametrize("modality", ["grey", "edges"])
def test_a_modality_has_no_colours_and_is_the_same_in_all_channels(modality: str, suite: Suite) -> None:
    pixels = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    found = as_seen(build_network(with_modality(suite, modality), "other").double(), normalised(pixels, suite).double())
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (suite.data.mean, suite.data.std)
    )
    seen = (found * std + mean).numpy()
    brightness = np.tensordot(pixels.numpy(), np.array([0.299, 0.587, 0.114]), axes=((1,), (0,)))
    if modality == "grey":
        expected = brightness
    else:  # per image, by scipy: the borders are repeated
        across = np.stack([sobel(image, axis=1, mode="nearest") for image in brightness]) / 4
        along = np.stack([sobel(image, axis=0, mode="nearest") for image in brightness]) / 4
        expected = np.minimum(np.hypot(across, along), 1)
    for channel in range(3):
        assert np.allclose(seen[:, channel], expected, atol=1e-6)


def test_a_grey_image_has_no_edges_where_it_is_even(suite: Suite) -> None:
    network = build_network(with_modality(suite, "edges", mean=(0.0,) * 3, std=(1.0,) * 3), "other")
    even = normalised(torch.full((1, 3, 32, 32), 0.7), suite)
    assert as_seen(network, even).abs().max() < 1e-5


def test_teacher_and_student_of_a_cross_modal_pair_see_the_same_crops(suite: Suite) -> None:
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, torch.arange(12), images[:4], torch.arange(4))
    across = with_modality(suite, "grey")
    params = load_method("kd").Params().model_dump()
    cell = Cell("cell", across, "kd", 1, "", student="other", seed=0, params=params)
    teacher = build_network(across, "plain", seed=1).eval().requires_grad_(False)
    trainer, _ = prepare(cell, data, [teacher], torch.device("cpu"))
    batch = normalised(images.float() / 255, across)
    student_outputs, teacher_outputs = trainer.outputs(batch)
    assert torch.equal(teacher_outputs.logits, OutputReader("teacher", teacher, {"logits"})(batch).logits)
    grey = luminance(images.float() / 255).expand(-1, 3, -1, -1)
    assert torch.allclose(trainer.outputs(normalised(grey, across))[0].logits, student_outputs.logits, atol=1e-4)
    assert not torch.allclose(trainer.outputs(normalised(grey, across))[1].logits, teacher_outputs.logits, atol=1e-2)
    assert student_outputs.logits.shape == (12, 100)
    assert trainer.train_epoch(0)["kd"] > 0
