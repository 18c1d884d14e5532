"""Dataset condensation with distribution matching (Zhao and Bilen 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench import Field, Paper
from kdbench_methods.parts.learned_images import LearnedImages
from kdbench_methods.parts.siamese import STRATEGY, Augmentation


class DM(LearnedImages):
    """A few images are learned whose mean embedding is that of their class, in networks that were never trained.

    L(S) = sum_c |mean f(A(T_c)) - mean f(A(S_c))|^2

    T_c: real images of class c, S_c: those that are learned; f: the embedding in a network whose weights are fresh in
    each iteration; A: an augmentation that both have in common, as in `dsa`.

    As the authors' code (github.com/VICO-UoE/DatasetCondensation, main_DM.py and utils.py, commit 53f63a6): the loss,
    SGD on the images, real batches, augmentations. On purpose otherwise: pixels stay within what 8 bits can say, where
    theirs are free; students see the suite's own augmentations, as under every method; a batch norm sees one class at a
    time, where theirs sees all (the suites' networks have group norm).
    """

    name, version = "dm", 1
    paper = Paper("Dataset Condensation with Distribution Matching", "Bo Zhao, Hakan Bilen", 2023, "2110.04181")
    requires = frozenset({"images", "teacher.network", "teacher.embedding"})

    class Params(LearnedImages.Params):
        iterations: int = Field(20_000, ge=0, description="fresh networks, on each of which the images are improved")
        image_learning_rate: float = Field(1.0, gt=0, description="of the images' SGD")
        strategy: str = Field(STRATEGY, pattern=r"^[a-z_]+$", description="augmentations, one of which is drawn")

    def improve(self, iteration: int) -> Tensor:
        network = self.fresh_network().requires_grad_(False)
        images = self.images.detach().requires_grad_()
        losses = []
        for _, real, own in self.classes(images):
            augment = Augmentation(self.params.strategy).drawn(1, self.setup.generator)
            with torch.no_grad():
                wanted = network(augment(real)).embedding
            losses.append(mean_distance(network(augment(own)).embedding, wanted))
        loss = torch.stack(losses).sum()
        self.descend(torch.autograd.grad(loss, images)[0])
        return loss.detach()


def mean_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance of the means of embeddings (N, D) and (M, D)."""
    return (wanted.mean(dim=0) - found.mean(dim=0)).square().sum()
