"""Rows have a canonical order, the split is stratified, and views are crops and flips pixel for pixel."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kdbench.data import sources
from kdbench.data.small import canonical_order, load_data
from kdbench.data.sources import sklearn_digits
from kdbench.data.split import stratified_split
from kdbench.data.views import Normalize, Views
from kdbench.errors import KdbenchError
from kdbench.suite import Suite
from kdbench.suites import load_test_labels
from kdbench.tables import Data


def test_digits_are_the_suites_real_images(digits: Suite) -> None:
    dataset = load_data(whole(digits).data)
    assert dataset.train_images.shape == (1000, 1, 8, 8)
    assert dataset.test_images.shape == (797, 1, 8, 8)
    pixels = dataset.train_images.double() / 255
    assert pixels.mean().item() == pytest.approx(digits.data.mean[0], abs=1e-4)
    assert pixels.std(correction=0).item() == pytest.approx(digits.data.std[0], abs=1e-4)


def test_shipped_test_labels_are_those_of_the_data(digits: Suite) -> None:
    assert load_test_labels(digits).tolist() == load_data(digits.data).test_labels.tolist()


def test_the_digits_are_scikit_learns_without_its_import() -> None:
    """Which takes seconds of each process; PyTorch is not needed to read them either."""
    code = """
import sys
from kdbench.data.sources import sklearn_digits
sklearn_digits()
print(sorted({"sklearn", "scipy", "pandas", "torch", "timm"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
    images, labels = sklearn_digits()
    known = load_digits()
    assert np.abs(images[:, 0] - known.images * (255 / 16)).max() <= 0.5
    assert (labels == known.target).all()


def test_the_order_of_the_source_does_not_matter(digits: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = sklearn_digits()
    shuffled = np.random.default_rng(0).permutation(len(labels))
    monkeypatch.setitem(sources.POOLS, "sklearn/digits", lambda: (images[shuffled], labels[shuffled]))
    load_data.cache_clear()
    again = load_data(digits.data)  # raises if any row moved: the hash is over all rows in order
    load_data.cache_clear()
    assert torch.equal(again.train_images, load_data(digits.data).train_images)


def test_rows_with_equal_pixels_are_ordered_by_label() -> None:
    images = np.zeros((3, 1, 2, 2), dtype=np.uint8)
    labels = np.array([2, 0, 1])
    assert labels[canonical_order(images, labels)].tolist() == [0, 1, 2]


def test_the_split_keeps_the_classes_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 11])
    mask = stratified_split(labels, 50, 3)
    assert mask.sum() == 50
    assert np.abs(np.bincount(labels[mask]) - 50 * np.array([60, 30, 11]) / 101).max() < 1


def test_validation_is_cut_from_train_and_leaves_the_test_set_alone(digits: Suite) -> None:
    every, held_out = load_data(whole(digits).data), load_data(whole(digits).with_validation().data)
    assert (len(held_out.train_labels), len(held_out.test_labels)) == (800, 200)

    def rows(images: torch.Tensor) -> set[bytes]:
        return {image.numpy().tobytes() for image in images}

    assert rows(held_out.train_images) | rows(held_out.test_images) == rows(every.train_images)
    assert not rows(held_out.test_images) & rows(every.test_images)


def whole(suite: Suite) -> Suite:
    return part_of(suite, None)


def part_of(suite: Suite, fraction: float | None) -> Suite:
    return suite.model_copy(update={"data": suite.data.model_copy(update={"train_fraction": fraction})})


def test_a_fraction_is_the_first_rows_of_each_class_and_leaves_the_test_set_alone(digits: Suite) -> None:
    every, quarter = load_data(whole(digits).data), load_data(part_of(digits, 0.25).data)
    for label in range(10):
        own, all_of_it = (d.train_images[d.train_labels == label] for d in (quarter, every))
        assert abs(len(own) - len(all_of_it) / 4) < 1
        assert torch.equal(own, all_of_it[: len(own)])
    assert len(quarter.train_labels) == 250
    assert torch.equal(quarter.test_images, every.test_images)


def test_a_fraction_of_what_validation_leaves_is_trained_on(digits: Suite) -> None:
    suite = part_of(digits, 0.5).with_validation()
    assert (len(load_data(suite.data).train_labels), len(load_data(suite.data).test_labels)) == (400, 200)
    assert suite.data.learned_from == 400


def test_teachers_learn_from_all_of_it(digits: Suite) -> None:
    half = part_of(digits, 0.5)
    assert half.teacher_protocol() == digits.teacher_protocol()
    assert half.fingerprint != digits.fingerprint


@pytest.mark.parametrize(("padding", "flip", "views"), [(1, False, 9), (4, True, 162), (0, False, 1)])
def test_views_are_crops_and_flips_pixel_for_pixel(padding: int, flip: bool, views: int, digits: Suite) -> None:
    data = digits.data.model_copy(update={"crop_padding": padding, "horizontal_flip": flip})
    assert data.num_views == views
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cut = Views(data, images, torch.device("cpu"))
    view = torch.arange(views)
    index = view % 5
    found = cut(index, view)
    flips = 2 if flip else 1
    for i, v in zip(index.tolist(), view.tolist(), strict=True):
        row, column = divmod(v // flips, 2 * padding + 1)
        framed = np.pad(images[i, 0].numpy(), padding)[row : row + 8, column : column + 8]
        expected = framed[:, ::-1] if v % flips else framed
        assert torch.equal(found[v], Normalize(data, torch.device("cpu"))(torch.from_numpy(expected.copy())[None]))


def test_normalisation_is_by_mean_and_standard_deviation_of_pixels_in_0_to_1(digits: Suite) -> None:
    white = Normalize(digits.data, torch.device("cpu"))(torch.full((1, 1, 8, 8), 255, dtype=torch.uint8))
    assert white.mean().item() == pytest.approx((1 - digits.data.mean[0]) / digits.data.std[0], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_classes": 11}, "classes"),
        ({"train": 900}, "rows"),
        ({"image_size": (9, 8)}, "shape"),
        ({"sha256": "0" * 64}, "data.sha256"),
        ({"source": "sklearn/digit"}, "Did you mean 'sklearn/digits'?"),
    ],
)
def test_other_data_than_the_suite_says_is_one_line(change: dict[str, object], said: str, digits: Suite) -> None:
    data: Data = digits.data.model_copy(update=change)
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(data)
    assert "\n" not in str(caught.value)
