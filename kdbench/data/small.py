"""Data sets: decoded once, in canonical order, split as the suite says, and kept in a memory-mapped cache.

The cache has arrays by their content. What is known of a suite's files without decoding them is in `stamps.py`.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from kdbench.cache import cache_folder
from kdbench.data.sources import POOLS, Images, OnRows, read_source, source_files
from kdbench.data.split import stratified_split
from kdbench.data.stamps import REMEDY, content_behind, stamp, whereabouts
from kdbench.data.views import SmallImages
from kdbench.errors import KdbenchError, writing
from kdbench.hashing import digest, labels_sha256
from kdbench.tables import Data

PARTS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Dataset:
    """Both parts of a data set, rows in canonical order: uint8 images (N, C, H, W) and int64 labels (N,)."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def inputs(self, data: Data, batch_size: int, device: torch.device) -> SmallImages:
        """The images held on a device; whatever the batch, each step cuts its own."""
        return SmallImages(data, self, device)

    def check_unchanged(self, data: Data) -> None:
        """They are held, so nothing changes them."""


def canonical_order(images: np.ndarray, labels: np.ndarray, seed: int | None = None) -> np.ndarray:
    """Positions of the rows sorted by (SHA-256 of the pixels, label), whatever order the source has them in.

    Args:
        seed: hashed with the pixels, for another order that the source's does not matter to either.
    """
    salt = b"" if seed is None else f"{seed}/".encode()
    digests = [hashlib.sha256(salt + image.tobytes()).digest() for image in images]
    return np.array(sorted(range(len(labels)), key=lambda row: (digests[row], labels[row])))


def data_sha256(parts: list[Images]) -> str:
    """Hash of the pixels and labels of all parts."""
    found = hashlib.sha256()
    for images, labels in parts:
        found.update(repr(images.shape).encode())
        found.update(np.ascontiguousarray(images).data)
        found.update(labels.astype("<i8").tobytes())
    return found.hexdigest()


@functools.cache
def load_data(data: Data, on_rows: OnRows = lambda rows: None) -> Dataset:
    """The data set of a suite, its rows in canonical order.

    Args:
        on_rows: is told how many rows are decoded, where they have to be.

    Raises:
        KdbenchError: a source that cannot be had; sizes, classes or content other than the suite says.
    """
    if data.source in POOLS:
        train, test = parts = read_in_order(data)
        check_content(data, parts)
    else:
        if data.sha256 is None:
            data = data.model_copy(update={"sha256": content_sha256(data, on_rows)})
        train, test = cached_parts(data, lambda: read_in_order(data, on_rows))
    if data.evaluate_on == "validation":
        rest = stratified_split(train[1], data.train - data.validation, data.num_classes)
        train, test = (train[0][rest], train[1][rest]), (train[0][~rest], train[1][~rest])
    if data.train_fraction is not None:
        part = stratified_split(train[1], data.learned_from, data.num_classes)
        train = train[0][part], train[1][part]
    return Dataset(*(torch.from_numpy(array) for array in (*train, *test)))


def content_sha256(data: Data, on_rows: OnRows = lambda rows: None) -> str:
    """The hash of the pixels and labels that are there, decoded into the cache unless they are known by their stamp.

    Raises:
        KdbenchError: as `load_data`.
    """
    if data.source in POOLS:
        return data_sha256(read_in_order(data))

    def decoded() -> str:
        parts = read_in_order(data, on_rows)
        found = data_sha256(parts)
        cached_parts(data.model_copy(update={"sha256": found}), lambda: parts)
        return found

    def stamp_now() -> str:
        return stamp(data, source_files(data))

    return content_behind(stamp_now(), stamp_now, decoded)


def read_in_order(data: Data, on_rows: OnRows = lambda rows: None) -> list[Images]:
    """Train and test parts in canonical order; a pool is split, with the classes in proportion.

    Raises:
        KdbenchError: as `read_source`; rows, shapes or classes other than the suite says.
    """
    parts = read_source(data, on_rows)
    check_layout(data, parts)
    if len(parts) == 1:
        images, labels = ordered(*parts[0], data.split_seed)
        in_train = stratified_split(labels, data.train, data.num_classes)
        parts = [(images[in_train], labels[in_train]), (images[~in_train], labels[~in_train])]
    return [ordered(images, labels) for images, labels in parts]


def ordered(images: np.ndarray, labels: np.ndarray, seed: int | None = None) -> Images:
    """Rows in canonical order, or in the one of a seed."""
    order = canonical_order(images, labels, seed)
    return images[order], labels[order]


def check_layout(data: Data, parts: list[Images]) -> None:
    """Compare rows, shapes and classes with the suite's.

    Raises:
        KdbenchError: they differ.
    """
    labels = np.concatenate([labels for _, labels in parts])
    found = dict(rows=len(labels), shape=parts[0][0].shape[1:], classes=int(labels.max()) + 1)
    wanted = dict(rows=data.train + data.test, shape=(data.channels, *data.image_size), classes=data.num_classes)
    if found != wanted or labels.min() < 0:
        raise KdbenchError(f"Data source '{data.source}' has {found}, but the suite's [data] says {wanted}.")


def check_content(data: Data, parts: list[Images]) -> None:
    """Compare the hashes of what was read with the suite's, where it has them.

    Raises:
        KdbenchError: the content differs.
    """
    for key, value in (("sha256", data_sha256(parts)), ("test_labels_sha256", labels_sha256(parts[1][1]))):
        if getattr(data, key) not in (value, None):
            raise KdbenchError(
                f"Data source '{data.source}' has {key} {value}, not the suite's {getattr(data, key)}: "
                f"the content differs. Correct data.{key} if this is the data that the suite means."
            )


def data_folder(data: Data) -> Path:
    """Where the decoded arrays of a content are cached."""
    about = whereabouts(data, "sha256")
    return cache_folder() / "data" / f"{data.source.replace('/', '--')}-{digest(about)[:12]}"


def cached_parts(data: Data, read: Callable[[], list[Images]]) -> list[Images]:
    """The decoded arrays, memory-mapped; read first where they are not cached or the cache is damaged."""
    folder = data_folder(data)
    with writing(folder, REMEDY):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
    with lock:  # one process decodes, the others wait for it
        try:
            parts = read_cache(folder)
            check_layout(data, parts)
            check_content(data, parts)
            return parts
        except (OSError, ValueError, KdbenchError):
            parts = read()
            check_content(data, parts)
            write_cache(folder, parts)
            return read_cache(folder)


def read_cache(folder: Path) -> list[Images]:
    """Copy-on-write maps of the arrays: pages are shared between processes."""
    arrays = [np.load(folder / f"{part}.npy", mmap_mode="c", allow_pickle=False) for part in PARTS]
    return [(arrays[0], arrays[1]), (arrays[2], arrays[3])]


def write_cache(folder: Path, parts: list[Images]) -> None:
    """Write the arrays and rename them into place: complete, or not there."""
    partial = folder.with_suffix(".partial")
    with writing(folder, REMEDY):
        for stale in (partial, folder):
            if stale.exists():
                shutil.rmtree(stale)
        partial.mkdir()
        for name, array in zip(PARTS, (array for part in parts for array in part), strict=True):
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        partial.rename(folder)
