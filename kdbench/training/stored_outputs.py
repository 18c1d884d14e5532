"""A teacher's outputs, computed once for each view of an image and kept for every training that asks for them.

The stream is a function of suite and seed, so that all methods of a seed ask one teacher about the same views. What an
epoch needs and the store lacks is computed before its first step, in batches of one size: a row's value may depend, in
its last bit, on how many others are computed with it, though not on which. On a CPU that size is the recipe's, and
values are bit-equal to those of a live teacher. The short last batch of an epoch is computed as it is, and not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from kdbench.data.contract import Inputs
from kdbench.data.feed import Feed
from kdbench.given import Outputs
from kdbench.networks.outputs import OutputReader
from kdbench.training.prediction import autocast
from kdbench.training.row_store import RowStore
from kdbench.training.spending import Spending

GPU_BATCH = 1024  # on a GPU, where no two runs are equal bit by bit


def filled_in(batch_size: int, device: torch.device) -> int:
    """Images in a batch that fills a store."""
    return batch_size if device.type == "cpu" else max(batch_size, GPU_BATCH)


class StoredOutputs:
    """What a teacher makes of an epoch's images, at hand for its steps.

    Args:
        reader: of the teacher.
        stores: of its outputs; row `index * num_views + view` is that of a view of an image.
        images: that the steps are trained on.
        num_samples, num_views: images, and views of each.
        batch_size: the recipe's.
        precision: the recipe's.
    """

    def __init__(
        self,
        reader: OutputReader,
        stores: Mapping[str, RowStore],
        images: Inputs,
        num_samples: int,
        num_views: int,
        batch_size: int,
        precision: str,
        device: torch.device,
    ) -> None:
        self.reader, self.stores, self.images, self.num_views = reader, stores, images, num_views
        self.batch_size, self.precision, self.device = batch_size, precision, device
        # By sample, each of which an epoch has once; at one place, where captured steps look for them.
        self.values = {
            what: torch.zeros(num_samples, store.values.shape[1], device=device) for what, store in stores.items()
        }

    def __call__(self, index: Tensor) -> Outputs:
        """Outputs of a batch of the epoch that was prepared, of samples (B,)."""
        return Outputs("teacher", **{what: values[index] for what, values in self.values.items()})

    def prepare(self, feed: Feed, spending: Spending) -> None:
        """Have all that an epoch's steps will ask for.

        Args:
            spending: the account to which the computation is added.

        Raises:
            KdbenchError: the disk is full or the store cannot be written.
        """
        full = len(feed.index) // self.batch_size * self.batch_size
        rows = (feed.index * self.num_views + feed.view).cpu().numpy()
        if len(lacking := np.flatnonzero(~self.has(rows[:full]))):
            self.fill(feed, rows, lacking, spending)
        for what, store in self.stores.items():
            self.values[what][feed.index[:full]] = unpacked(store.read(rows[:full])).to(self.device)
        if full < len(rows):
            index, view = feed.index[full:], feed.view[full:]
            with spending.counting({"teacher": self.reader}):
                found = self.compute(index, view)
            for what, values in self.values.items():
                values[index] = found[what]

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(R,) bool: whether all outputs of each row are there."""
        return np.logical_and.reduce([store.has(rows) for store in self.stores.values()])

    def fill(self, feed: Feed, rows: np.ndarray, lacking: np.ndarray, spending: Spending) -> None:
        """Compute the rows at some places of an epoch, in batches of one size, and keep them."""
        size = filled_in(self.batch_size, self.device)
        starts = range(0, len(lacking), size)
        found: dict[str, list[Tensor]] = {what: [] for what in self.stores}
        for start in starts:
            some = lacking[start : start + size]
            places = torch.from_numpy(np.resize(some, size)).to(self.device)  # the last ones over again fill it up
            with spending.counting({"teacher": self.reader}, len(starts)) if start == 0 else nullcontext():
                outputs = self.compute(feed.index[places], feed.view[places])
            for what, values in outputs.items():
                found[what].append(values[: len(some)].cpu())
        for what, store in self.stores.items():
            store.write(rows[lacking], packed(torch.cat(found[what]), store.values.dtype))

    def compute(self, index: Tensor, view: Tensor) -> dict[str, Tensor]:
        """The outputs of views (B,) of samples (B,), as a step with a live teacher has them."""
        with torch.no_grad(), autocast(self.device, self.precision):
            outputs = self.reader(self.images.cut(index, view))
        return {what: getattr(outputs, what) for what in self.stores}


def packed_type(values: Tensor) -> np.dtype:
    """The type that holds float32 values without loss: the bits of bfloat16, if they are that, else their own."""
    return np.dtype(np.int16 if torch.equal(values.bfloat16().float(), values) else np.float32)


def packed(values: Tensor, dtype: np.dtype) -> np.ndarray:
    """Float32 values as a store has them.

    Raises:
        RuntimeError: bfloat16 does not hold them.
    """
    if dtype == np.float32:
        return values.numpy()
    short = values.bfloat16()
    if not torch.equal(short.float(), values):
        raise RuntimeError("a teacher's outputs are not of the type that its store was made for")
    return short.view(torch.int16).numpy()


def unpacked(values: np.ndarray) -> Tensor:
    """What `packed` was given."""
    found = torch.from_numpy(values)
    return found if found.dtype == torch.float32 else found.view(torch.bfloat16).float()
