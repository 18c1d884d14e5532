"""Images that are too many to be held decoded: folders of files, through timm's transforms and loader.

The rows' canonical order is that of their paths, and their content's hash is of the files, since hashing the pixels of
ImageNet would take an hour. The stream gives each image of an epoch a seed, from which its random crop and flip are
drawn, whatever process decodes it.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from kdbench.data.crew import Crew, Row
from kdbench.data.feed import Feed
from kdbench.data.folders import Part, folder_of, list_parts
from kdbench.data.images import open_image
from kdbench.data.sources import OnRows
from kdbench.data.split import stratified_split
from kdbench.data.stamps import content_behind, stamp
from kdbench.environment import available_cores
from kdbench.errors import KdbenchError
from kdbench.hashing import digest, file_sha256, labels_sha256
from kdbench.tables import Data

CROP_PCT = 0.875  # test images: the centre 224 of 256
IN_PROCESS = 256  # images of both parts; fewer are decoded sooner than a process starts
HASHED = 4096  # files at a time


@dataclass(frozen=True)
class FileDataset:
    """Both parts of a data set of files, in the order of their paths; a folder a class, in the order of train's names.

    Attributes:
        stamp: of the files, when they were listed.
    """

    train_paths: list[Path]
    train_labels: Tensor
    test_paths: list[Path]
    test_labels: Tensor
    stamp: str

    def inputs(self, data: Data, batch_size: int, device: torch.device) -> LargeImages:
        """The images, decoded by other processes a batch at a time."""
        return LargeImages(data, self, batch_size, device)

    def check_unchanged(self, data: Data) -> None:
        """The files are those that were listed before the training.

        Raises:
            KdbenchError: they are others.
        """
        if files_stamp(data) != self.stamp:
            list_images.cache_clear()
            raise KdbenchError(f"Files in {folder_of(data)} changed while they were trained on. Run the command again.")


@functools.cache
def list_images(data: Data) -> FileDataset:
    """The files of a suite, and their labels.

    Raises:
        KdbenchError: as `list_parts`; other content than the suite says.
    """
    parts = list_parts(data)
    now = stamp(data, [path for part in parts for path in part.paths])
    train, test = split_parts(data, parts)
    found = {"test_labels_sha256": labels_sha256(test.labels)}
    if data.sha256 is not None:
        found["sha256"] = files_content(data, listed=now)
    for key, value in found.items():
        if getattr(data, key) not in (value, None):
            raise KdbenchError(
                f"{folder_of(data)} has {key} {value}, not the suite's {getattr(data, key)}: the files differ. Correct "
                f"data.{key} if these are the data that the suite means."
            )
    if data.evaluate_on == "validation":
        rest = stratified_split(train.labels, data.train - data.validation, data.num_classes)
        train, test = train.rows(rest), train.rows(~rest)
    if data.train_fraction is not None:
        train = train.rows(stratified_split(train.labels, data.learned_from, data.num_classes))
    return FileDataset(train.paths, torch.from_numpy(train.labels), test.paths, torch.from_numpy(test.labels), now)


def split_parts(data: Data, parts: list[Part]) -> tuple[Part, Part]:
    """The train and test files; what is not split yet is, in an order drawn from the seed and the files' paths."""
    if len(parts) == 2:
        return parts[0], parts[1]
    [pool], root = parts, folder_of(data)
    drawn = [digest([data.split_seed, path.relative_to(root).as_posix()]) for path in pool.paths]
    order = np.argsort(drawn, kind="stable")
    in_train = np.empty(len(order), dtype=bool)
    in_train[order] = stratified_split(pool.labels[order], data.train, data.num_classes)
    return pool.rows(in_train), pool.rows(~in_train)


def files_stamp(data: Data) -> str:
    """The stamp of the files that are there now."""
    return stamp(data, [path for part in list_parts(data) for path in part.paths])


def files_content(data: Data, on_rows: OnRows = lambda rows: None, listed: str | None = None) -> str:
    """The hash of the paths and contents of both parts' files, computed unless they are known by their stamp.

    Args:
        listed: their stamp, if it is known.

    Raises:
        KdbenchError: as `list_parts`; a file that cannot be read, or that changed meanwhile.
    """

    def hashed() -> str:
        found, root = hashlib.sha256(), folder_of(data)
        paths = [path for part in list_parts(data) for path in part.paths]
        with ThreadPoolExecutor(available_cores()) as pool:
            for start in range(0, len(paths), HASHED):
                some = paths[start : start + HASHED]
                for path, sha256 in zip(some, pool.map(file_sha256, some), strict=True):
                    found.update(f"{path.relative_to(root).as_posix()}\0{sha256}\n".encode())
                on_rows(start + len(some))
        if data.split_seed is not None:
            found.update(f"{data.split_seed} {data.train}".encode())
        return found.hexdigest()

    try:
        return content_behind(listed or files_stamp(data), lambda: files_stamp(data), hashed)
    except OSError as error:
        raise KdbenchError(f"Cannot read {error.filename}: {error.strerror}.") from error


class Pictures(torch.utils.data.Dataset[tuple[np.ndarray, int]]):
    """Decoded and transformed files; an item is asked for by row and seed."""

    def __init__(self, dataset: FileDataset, data: Data) -> None:
        self.paths = {"train": dataset.train_paths, "test": dataset.test_paths}
        self.channels = data.channels
        self.transforms = {part: transform(data, training=part == "train") for part in self.paths}

    def __getitem__(self, item: Row) -> tuple[np.ndarray, int]:
        part, row, seed = item
        path = self.paths[part][row]
        with seeded(seed):
            return self.transforms[part](open_image(path, self.channels, str(path))), row


def transform(data: Data, training: bool) -> Callable[[Any], np.ndarray]:
    """Timm's: a random crop and flip of training images, the centre of others; to uint8."""
    from timm.data import create_transform  # with torchvision, which small images do not need

    made: Callable[[Any], np.ndarray] = create_transform(
        (data.channels, *data.image_size),
        is_training=training,
        hflip=0.5 if data.horizontal_flip else 0.0,
        color_jitter=0.0,
        interpolation="bilinear",
        crop_pct=CROP_PCT,
        use_prefetcher=True,
    )
    return made


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global generators of the CPU under a seed; afterwards as they were, since a training may draw from them."""
    before, torchs = random.getstate(), torch.get_rng_state()
    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        torch.set_rng_state(torchs)


class Rows(Sampler[Row]):
    """The rows of the next pass."""

    def __init__(self) -> None:
        self.now: list[Row] = []

    def __iter__(self) -> Iterator[Row]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


class LargeImages:
    """The images of a suite, decoded by worker processes while the device trains; a few of them by this process.

    The processes, which take seconds to start, are started for the first pass and kept.
    """

    can_cut = False

    def __init__(self, data: Data, dataset: FileDataset, batch_size: int, device: torch.device) -> None:
        self.data, self.batch_size, self.device = data, batch_size, device
        images = len(dataset.train_paths) + len(dataset.test_paths)
        self.workers = 0 if images < IN_PROCESS else max(1, available_cores() - 1)
        self.pictures, self.rows = Pictures(dataset, data), Rows()
        self.crew: Crew | None = None

    def epoch(self, feed: Feed, first: int) -> Iterator[Tensor]:
        """The images of an epoch's batches (B, C, H, W), from batch `first` on."""
        start = first * self.batch_size
        rows = zip(feed.index[start:].tolist(), feed.view[start:].tolist(), strict=True)
        return self.load([("train", *row) for row in rows])

    def test(self) -> Iterator[Tensor]:
        """The test images, batch by batch."""
        return self.load([("test", row, 0) for row in range(len(self.pictures.paths["test"]))])

    def cut(self, index: Tensor, view: Tensor) -> Tensor:
        """Views of training images, decoded while the step waits."""
        if not len(index):
            return torch.empty(0, self.data.channels, *self.data.image_size, device=self.device)
        self.crew = self.crew or Crew(self.pictures, self.workers)
        rows = [("train", *row) for row in zip(index.tolist(), view.tolist(), strict=True)]
        pixels = torch.from_numpy(np.stack(self.crew.decode(rows))).to(self.device).float()
        mean, std = (
            torch.tensor([255 * value for value in values], device=self.device)[:, None, None]
            for values in (self.data.mean, self.data.std)
        )
        return pixels.sub_(mean).div_(std)

    def load(self, rows: list[Row]) -> Iterator[Tensor]:
        """A pass over some rows, which ends one that was begun before."""
        from timm.data.loader import PrefetchLoader

        self.rows.now = rows
        try:
            for images, _ in PrefetchLoader(
                self.loader, self.data.mean, self.data.std, self.data.channels, self.device
            ):
                if images.is_cuda:  # made on a stream of the loader's
                    images.record_stream(torch.cuda.current_stream(images.device))
                yield images
        except KdbenchError as error:  # with the traceback of a worker before it
            said = str(error).splitlines()[-1].removeprefix(f"{KdbenchError.__module__}.{KdbenchError.__name__}: ")
            raise KdbenchError(said) from error

    @functools.cached_property
    def loader(self) -> DataLoader[Any]:
        """Timm's batches of the rows of a pass."""
        from timm.data.loader import fast_collate

        return DataLoader(
            self.pictures,
            self.batch_size,
            sampler=self.rows,
            num_workers=self.workers,
            collate_fn=fast_collate,
            pin_memory=self.device.type == "cuda",
            multiprocessing_context="spawn" if self.workers else None,
            persistent_workers=self.workers > 0,
            generator=torch.Generator(),  # from which each pass draws a seed of no use here
        )
