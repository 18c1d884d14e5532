"""Data sets: decoded once, in canonical order, split as the suite says; views cut on the device."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench.errors import KdbenchError, did_you_mean
from kdbench.hashing import labels_sha256
from kdbench.suite import Data

Images = tuple[np.ndarray, np.ndarray]  # (N, C, H, W) uint8 pixels and (N,) int64 labels


@dataclass(frozen=True)
class Dataset:
    """Both parts of a data set, rows in canonical order: uint8 images (N, C, H, W) and int64 labels (N,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def sklearn_digits() -> Images:
    """1,797 handwritten digits of 8 x 8 pixels (UCI), 17 grey levels spread over 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return pixels[:, None], digits.target.astype(np.int64)


SOURCES: dict[str, Callable[[], Images]] = {"sklearn/digits": sklearn_digits}


def canonical_order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Positions of the rows sorted by (SHA-256 of the pixels, label), whatever order the source has them in."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return np.array(sorted(range(len(labels)), key=lambda row: (digests[row], labels[row])))


def stratified_split(labels: np.ndarray, size: int, num_classes: int) -> np.ndarray:
    """Mask of `size` rows with the classes in proportion: the first rows of each class, by largest remainder."""
    counts = np.bincount(labels, minlength=num_classes)
    quota = counts * size / len(labels)
    take = np.floor(quota).astype(int)
    for label in np.argsort(take - quota, kind="stable")[: size - take.sum()]:
        take[label] += 1
    position = np.zeros(len(labels), dtype=int)  # of each row within its class
    for label in range(num_classes):
        rows = labels == label
        position[rows] = np.arange(rows.sum())
    return position < take[labels]


def data_sha256(parts: list[Images]) -> str:
    """Hash of the pixels and labels of all parts."""
    digest = hashlib.sha256()
    for images, labels in parts:
        digest.update(repr(images.shape).encode() + images.tobytes() + labels.astype("<i8").tobytes())
    return digest.hexdigest()


@functools.cache
def load_data(data: Data) -> Dataset:
    """The data set of a suite, its rows in canonical order.

    Raises:
        KdbenchError: unknown source; sizes, classes or content other than the suite says.
    """
    if data.source not in SOURCES:
        raise KdbenchError(f"Unknown data source '{data.source}' (data.source).{did_you_mean(data.source, SOURCES)}")
    images, labels = SOURCES[data.source]()
    found = dict(rows=len(labels), shape=images.shape[1:], classes=int(labels.max()) + 1)
    wanted = dict(rows=data.train + data.test, shape=(data.channels, *data.image_size), classes=data.num_classes)
    if found != wanted:
        raise KdbenchError(f"Data source '{data.source}' has {found}, but the suite's [data] says {wanted}.")
    order = canonical_order(images, labels)
    images, labels = images[order], labels[order]
    in_train = stratified_split(labels, data.train, data.num_classes)
    train, test = (images[in_train], labels[in_train]), (images[~in_train], labels[~in_train])
    for key, value in (("sha256", data_sha256([train, test])), ("test_labels_sha256", labels_sha256(test[1]))):
        if getattr(data, key) != value:
            raise KdbenchError(
                f"Data source '{data.source}' has {key} {value}, not the suite's {getattr(data, key) or '(none)'}: "
                f"the content differs. Correct data.{key} if this is the data that the suite means."
            )
    if data.evaluate_on == "validation":
        rest = stratified_split(train[1], data.train - data.validation, data.num_classes)
        train, test = (train[0][rest], train[1][rest]), (train[0][~rest], train[1][~rest])
    return Dataset(*(torch.from_numpy(array) for array in (*train, *test)))


class Views:
    """The training images of a suite on a device, and any batch of their views, cut there by indexing.

    View v of an image is the crop at (row, column) = divmod(v // flips, 2 * padding + 1) of the image in a frame of
    zeros; with horizontal flips, odd views are mirrored.
    """

    def __init__(self, data: Data, images: Tensor, device: torch.device) -> None:
        p = data.crop_padding
        self.padded = F.pad(images.to(device), (p, p, p, p))
        self.offsets = 2 * p + 1
        self.flip = data.horizontal_flip
        height, width = data.image_size
        self.rows = torch.arange(height, device=device)
        self.columns = torch.arange(width, device=device)
        self.channels = torch.arange(data.channels, device=device)[None, :, None, None]
        self.normalize = Normalize(data, device)

    def __call__(self, index: Tensor, view: Tensor) -> Tensor:
        """Views of images, normalised: (B,) and (B,) to (B, C, H, W) float32."""
        crop = view // 2 if self.flip else view
        row, column = crop // self.offsets, crop % self.offsets
        columns = self.columns.expand(len(view), -1)
        if self.flip:
            columns = torch.where((view % 2 == 1)[:, None], columns.flip(1), columns)
        rows = (row[:, None] + self.rows)[:, None, :, None]
        columns = (column[:, None] + columns)[:, None, None, :]
        return self.normalize(self.padded[index[:, None, None, None], self.channels, rows, columns])


class Normalize:
    """uint8 pixels (B, C, H, W) to float32, by the suite's mean and standard deviation of each channel."""

    def __init__(self, data: Data, device: torch.device) -> None:
        self.mean = 255 * torch.tensor(data.mean, device=device)[:, None, None]
        self.std = 255 * torch.tensor(data.std, device=device)[:, None, None]

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self.mean) / self.std
