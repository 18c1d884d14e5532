"""The training stream: which samples, in which order, in which view, as a pure function of (suite, seed).

Everything random in a cell comes from one of five streams (data, strong, student, dropout, method), so that the draws
of one never shift another's: all methods train on the same batches from the same initial weights. Orders, views and
what strong views are made of come from counter-based raw bits (Philox) on the CPU, so that they are the same for every
version, device and resumption.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

Stream = Literal["data", "strong", "student", "dropout", "method"]


def stream_key(suite: str, seed: int, stream: Stream) -> int:
    """128-bit key of one random stream of a cell."""
    return int.from_bytes(hashlib.sha256(f"{suite}/{seed}/{stream}".encode()).digest()[:16], "big")


def torch_seed(suite: str, seed: int, stream: Stream) -> int:
    """Seed of one stream for torch's generators (63 bits)."""
    return stream_key(suite, seed, stream) >> 65


def epoch_stream(suite: str, seed: int, epoch: int, num_samples: int, num_views: int) -> tuple[np.ndarray, np.ndarray]:
    """Order and views of one epoch.

    Returns:
        index: (N,) int64, a permutation of the samples.
        view: (N,) int64 below `num_views`, the view of the sample at each position.
    """
    bits = np.random.Philox(key=stream_key(suite, seed, "data"), counter=[0, 0, 0, epoch]).random_raw(2 * num_samples)
    index = np.argsort(bits[:num_samples], kind="stable")
    view = (bits[num_samples:] % np.uint64(num_views)).astype(np.int64)
    return index.astype(np.int64), view


def strong_stream(
    suite: str, seed: int, epoch: int, num_samples: int, num_views: int, num_draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the strong views of one epoch are made of, for the sample at each position.

    Returns:
        view: (N,) int64 below `num_views`, which crop is distorted.
        draws: (N, D) float32 from [0, 1), how.
    """
    philox = np.random.Philox(key=stream_key(suite, seed, "strong"), counter=[0, 0, 0, epoch])
    bits = philox.random_raw((1 + num_draws) * num_samples)
    view = (bits[:num_samples] % np.uint64(num_views)).astype(np.int64)
    draws = (bits[num_samples:] >> np.uint64(40)).astype(np.float32) / np.float32(2**24)
    return view, draws.reshape(num_samples, num_draws)
