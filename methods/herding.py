"""Herding (Welling 2009): real images whose mean is close to that of their class."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench import DatasetMethod, Paper, Setup
from kdbench_methods.parts.real_images import RealImages


class Herding(DatasetMethod):
    """Students learn from real images chosen one by one, so that their mean embedding is that of their class.

    x_j = argmin_x |mu_c - (f(x) + sum_{i<j} f(x_i)) / j|

    x is of class c and not chosen yet, f is the embedding of the network that the suite makes images by, trained on the
    whole training set, mu_c its mean over the class: a baseline of dataset condensation (Zhao et al. 2021), in the form
    that Rebuffi et al. (2017, algorithm 4) gave to Welling's rule. As that algorithm, but that embeddings are not
    scaled to length one.
    """

    name, version = "herding", 1
    paper = Paper("Herding Dynamical Weights to Learn", "Max Welling", 2009)
    scheme = "baseline"
    requires = frozenset({"images", "teacher.embedding"})
    images: Tensor

    def build(self, setup: Setup) -> None:
        real = RealImages(setup)
        chosen = []
        for label in real.each_class():
            rows = real.rows(label)
            with torch.no_grad():
                embeddings = torch.cat([setup.read_teacher(real.at(part)).embedding for part in rows.split(256)])
            chosen.append(real.at(rows[herd(embeddings, setup.images_per_class)]))
        self.register_buffer("images", torch.cat(chosen))

    def synthetic(self) -> Tensor:
        return self.images


def herd(embeddings: Tensor, count: int) -> Tensor:
    """(K,) the rows of (N, D) embeddings, in the order in which they are chosen; K = `count`."""
    mean, total = embeddings.mean(dim=0), torch.zeros_like(embeddings[0])
    left = torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)
    chosen = []
    for j in range(1, count + 1):
        distance = ((total + embeddings) / j - mean).norm(dim=1)
        best = distance.masked_fill(~left, torch.inf).argmin()
        left[best] = False
        total = total + embeddings[best]
        chosen.append(best)
    return torch.stack(chosen)
