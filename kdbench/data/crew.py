"""Processes that decode single images at once, for a step that waits for them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Protocol

import numpy as np
import torch

Row = tuple[str, int, int]  # a part, a row of it, the seed of its view


class Source(Protocol):
    """Decodes an image by part, row and seed; it leaves the process's random numbers as they were."""

    def __getitem__(self, item: Row, /) -> tuple[np.ndarray, int]: ...


DECODING: list[Source] = []  # the source of a process of the crew


class Crew:
    """Decodes rows of a source in processes of its own, which are started by the first row and end with this one.

    Args:
        workers: how many processes; 0 decodes in this one.
    """

    def __init__(self, source: Source, workers: int) -> None:
        self.source = source
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(workers, spawn, start, (source,)) if workers else None

    def decode(self, rows: Iterable[Row]) -> list[np.ndarray]:
        """The pixels (C, H, W) uint8 of rows, in their order.

        Raises:
            KdbenchError: an image that cannot be read.
        """
        if self.pool is not None:
            return list(self.pool.map(decode, rows))
        return [self.source[row][0] for row in rows]


def start(source: Source) -> None:
    """Make a process ready, and let it end with its parent however that dies."""
    DECODING[:] = [source]
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(0)), daemon=True).start()


def decode(row: Row) -> np.ndarray:
    return DECODING[0][row][0]
