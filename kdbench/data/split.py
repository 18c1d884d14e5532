"""Parts of a data set with the classes in proportion."""

from __future__ import annotations

import numpy as np


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
