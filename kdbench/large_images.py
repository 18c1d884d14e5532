"""Images that are too many to be held decoded: folders of files, through timm's transforms and loader.

The rows' canonical order is that of their paths, since hashing the pixels of ImageNet would take an hour. The stream
gives each image of an epoch a seed, from which its random crop and flip are drawn, whatever process decodes it.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.loader import PrefetchLoader, fast_collate
from torch import Tensor
from torch.utils.data import DataLoader

from kdbench.environment import available_cores
from kdbench.errors import KdbenchError
from kdbench.feed import Feed
from kdbench.hashing import labels_sha256
from kdbench.sources import data_dir
from kdbench.suite import Data

SOURCE = "imagefolder/"
SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}
CROP_PCT = 0.875  # test images: the centre 224 of 256
Row = tuple[int, int]  # of the split, and the seed of its view


@dataclass(frozen=True)
class FileDataset:
    """Both parts of a data set of files, in the order of their paths; a folder a class, in the order of their names."""

    train_paths: list[Path]
    train_labels: Tensor
    test_paths: list[Path]
    test_labels: Tensor


@functools.cache
def list_images(data: Data) -> FileDataset:
    """The files of a suite, and their labels.

    Raises:
        KdbenchError: no such folders, or other numbers of images or classes than the suite says.
    """
    root = data_dir()
    name = data.source.removeprefix(SOURCE)
    if root is None:
        raise KdbenchError(
            f"Suite data '{data.source}' are folders of images: name the folder that holds {name}/ with --data-dir "
            "or KDBENCH_DATA."
        )
    parts, digest = [], hashlib.sha256()
    for split, size in zip(data.splits or ("train", "val"), (data.train, data.test), strict=True):
        folder = root / name / split
        if not folder.is_dir():
            raise KdbenchError(f"No folder {folder} of '{data.source}' (--data-dir, KDBENCH_DATA).")
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        paths = [sorted(p for p in c.iterdir() if p.suffix.lower() in SUFFIXES) for c in classes]
        found, wanted = (sum(map(len, paths)), len(classes)), (size, data.num_classes)
        if found != wanted:
            raise KdbenchError(
                f"{folder} has {found[0]} images of {found[1]} classes, but the suite's [data] says {wanted[0]} of "
                f"{wanted[1]}."
            )
        for path in (path for group in paths for path in group):
            digest.update(f"{path.relative_to(root / name).as_posix()} {path.stat().st_size}\n".encode())
        labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(group) for group in paths])
        parts.append(([path for group in paths for path in group], labels))
    for key, value in (("sha256", digest.hexdigest()), ("test_labels_sha256", labels_sha256(parts[1][1]))):
        if getattr(data, key) not in (value, None):
            raise KdbenchError(f"{root / name} has {key} {value}, not the suite's data.{key}: the files differ.")
    if data.evaluate_on == "validation":
        raise KdbenchError(f"--validate is not there for folders of images yet ({data.source}). Leave it out.")
    (train, train_labels), (test, test_labels) = parts
    return FileDataset(train, torch.from_numpy(train_labels), test, torch.from_numpy(test_labels))


class Pictures(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Decoded and transformed files; an item is asked for by row and seed."""

    def __init__(self, paths: list[Path], data: Data, training: bool) -> None:
        self.paths = paths
        self.mode = {1: "L", 3: "RGB"}[data.channels]
        self.transform = create_transform(
            (data.channels, *data.image_size),
            is_training=training,
            hflip=0.5 if data.horizontal_flip else 0.0,
            color_jitter=0.0,
            interpolation="bilinear",
            crop_pct=CROP_PCT,
            use_prefetcher=True,
        )

    def __getitem__(self, item: Row) -> tuple[Tensor, int]:
        row, seed = item
        random.seed(seed)  # in a process of the loader's own, whose other draws do not matter
        torch.manual_seed(seed)
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert(self.mode)), row


class LargeImages:
    """The images of a suite, decoded by worker processes while the device trains."""

    def __init__(self, data: Data, dataset: FileDataset, batch_size: int, device: torch.device) -> None:
        self.data, self.batch_size, self.device = data, batch_size, device
        self.workers = max(1, available_cores() - 1)
        self.train_pictures = Pictures(dataset.train_paths, data, training=True)
        self.test_pictures = Pictures(dataset.test_paths, data, training=False)

    def epoch(self, feed: Feed, first: int) -> Iterator[Tensor]:
        """The images of an epoch's batches (B, C, H, W), from batch `first` on."""
        start = first * self.batch_size
        rows = zip(feed.index[start:].tolist(), feed.view[start:].tolist(), strict=True)
        return self.load(self.train_pictures, list(rows))

    def test(self) -> Iterator[Tensor]:
        """The test images, batch by batch."""
        return self.load(self.test_pictures, [(row, 0) for row in range(len(self.test_pictures.paths))])

    def cut(self, index: Tensor, view: Tensor) -> Tensor:
        """An empty batch, of an empty index.

        Raises:
            RuntimeError: any other one; files are decoded outside the step.
        """
        if not len(index):
            return torch.empty(0, self.data.channels, *self.data.image_size, device=self.device)
        raise RuntimeError("files are decoded by other processes")

    def load(self, pictures: Pictures, rows: Iterable[Row]) -> Iterator[Tensor]:
        loader = DataLoader(
            pictures,
            self.batch_size,
            sampler=list(rows),
            num_workers=self.workers,
            collate_fn=fast_collate,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn" if self.workers else None,
        )
        try:
            for images, _ in PrefetchLoader(loader, self.data.mean, self.data.std, self.data.channels, self.device):
                if images.is_cuda:  # made on a stream of the loader's
                    images.record_stream(torch.cuda.current_stream(images.device))
                yield images
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[-1]
            raise KdbenchError(f"An image of '{self.data.source}' cannot be read: {said}") from error
