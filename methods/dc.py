"""Dataset condensation with gradient matching (Zhao et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench import Field, OwnNetwork, Paper
from kdbench_methods.parts.learned_images import LearnedImages

NORM_IMAGES = 16  # real images of a class, from which batch norms have their statistics
BATCH = 256  # images in a step of the network on what is made so far


class DC(LearnedImages):
    """A few images are learned on which a network's loss has the gradients that it has on the whole training set.

    L(S) = sum_c D(dCE(S_c)/dw, dCE(T_c)/dw)

    D(A, B) = sum_l sum_i (1 - cos(A_{l,i}, B_{l,i}))

    T_c: real images of class c, S_c: those that are learned; i: the outputs of layer l. The network with weights w is
    fresh in each iteration. `outer_steps` times the images go down L, and between these
    the network learns from them for `inner_steps` epochs.

    As the authors' code (github.com/VICO-UoE/DatasetCondensation, main.py and utils.py, commit 53f63a6): D without
    biases and norms, its 1e-6, SGD on images and network, real batches, statistics of batch norms. Defaults are theirs
    for ten images a class. On purpose otherwise: pixels stay within what 8 bits can say, where theirs are free.
    """

    name, version = "dc", 1
    paper = Paper(
        "Dataset Condensation with Gradient Matching", "Bo Zhao, Konda Reddy Mopuri, Hakan Bilen", 2021, "2006.05929"
    )
    requires = frozenset({"images", "teacher.network"})
    checked_with = {"outer_steps": 2, "inner_steps": 1}

    class Params(LearnedImages.Params):
        start: Literal["noise", "real"] = Field("noise", description="what the images are at first")
        outer_steps: int = Field(10, ge=1, description="improvements of the images on one network; 1 for one image")
        inner_steps: int = Field(50, ge=0, description="epochs of the network on the images, between two of these")
        network_learning_rate: float = Field(0.01, gt=0, description="of the network's SGD")

    def improve(self, iteration: int) -> Tensor:
        network, total = self.fresh_network(), torch.zeros((), device=self.images.device)
        weights = list(network.parameters())
        for step in range(self.params.outer_steps):
            self.settle_norms(network)
            images = self.images.detach().requires_grad_()
            loss = torch.stack([self.distance(network, weights, *one) for one in self.classes(images)]).sum()
            self.descend(torch.autograd.grad(loss, images)[0])
            total += loss.detach()
            if step + 1 < self.params.outer_steps:
                self.teach(network, weights)
        return total / self.params.outer_steps

    def distance(
        self, network: OwnNetwork, weights: list[nn.Parameter], label: int, real: Tensor, own: Tensor
    ) -> Tensor:
        """D of one class, differentiable in its learned images."""
        real, own = self.alike(real, own)
        wanted = torch.autograd.grad(self.loss_of(network, real, label), weights)
        found = torch.autograd.grad(self.loss_of(network, own, label), weights, create_graph=True)
        return gradient_distance(found, wanted)

    @staticmethod
    def loss_of(network: OwnNetwork, images: Tensor, label: int) -> Tensor:
        """Mean cross-entropy of images of one class."""
        labels = torch.full((len(images),), label, device=images.device)
        return F.cross_entropy(network(images).logits, labels)

    def alike(self, real: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of both; here the images as they are."""
        return real, own

    def varied(self, images: Tensor) -> Tensor:
        """What the network sees of images that it learns from; here the images as they are."""
        return images

    def teach(self, network: OwnNetwork, weights: list[nn.Parameter]) -> None:
        """The network learns from the images, by plain SGD."""
        each, random = self.setup.images_per_class, self.setup.generator
        labels = torch.arange(self.setup.num_classes, device=random.device).repeat_interleave(each)
        network.train()
        for _ in range(self.params.inner_steps):
            for rows in torch.randperm(len(labels), generator=random, device=random.device).split(BATCH):
                loss = F.cross_entropy(network(self.varied(self.images[rows])).logits, labels[rows])
                gradients = torch.autograd.grad(loss, weights)
                with torch.no_grad():
                    for weight, gradient in zip(weights, gradients, strict=True):
                        weight.add_(gradient, alpha=-self.params.network_learning_rate)

    def settle_norms(self, network: OwnNetwork) -> None:
        """Batch norms take their statistics from real images: those few that are learned could not give them."""
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        if norms:
            network.train()
            with torch.no_grad():
                network(torch.cat([self.real.drawn(label, NORM_IMAGES) for label in self.real.each_class()]))
            for norm in norms:
                norm.eval()


def gradient_distance(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """D of the gradients of all weights in their order: 1 - cos of each output's, summed; vectors count for nothing."""
    parts = []
    for one, other in zip(found, wanted, strict=True):
        if one.ndim > 1:
            a, b = one.flatten(1), other.flatten(1)
            parts.append((1 - (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum())
    return torch.stack(parts).sum()
