"""Fast data-free knowledge distillation (Fang et al. 2022)."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Adam, Field, Paper, Setup
from kdbench_methods.cmi import adversarial_loss, with_sigmoid
from kdbench_methods.parts.generator import ImageGenerator
from kdbench_methods.parts.with_bank import WithBank


class FastDFKD(WithBank):
    """The student learns KD on images that a generator makes in a few steps, from weights that are learnt for it.

    L(x) = ce_weight * CE(z_t(x), y) + statistics_weight * statistics(x) + adversarial_weight * adversarial(x)
    k steps of Adam down L from G and fresh latents u:  (G_i, u_i), i = 0 .. k - 1,  x = G_i(u_i) of the least L
    G:     one step of Adam along sum_i grad L(G_i(u_i)), the gradients in G_i                     (first-order MAML)
    Then:  L = T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    statistics and adversarial as in CMI; but a batch's statistics count 1 - m, and m those of the last steps of
    earlier batches, averaged. A batch is synthesised before each epoch, and some before the first one without the
    adversarial term. G's first layers begin anew once.

    As the authors' code (github.com/zju-vipa/Fast-Datafree, datafree/synthesis/fast_meta.py, datafree/hooks.py, commit
    0dcecbc; constants of scripts/fast_cifar.sh: WRN-40-2 with k = 10): the loss and its running statistics, the first
    order meta gradient, both optimizers, what begins anew and when. On purpose otherwise: the student follows the
    suite's recipe, and the bank is in memory. (Biases of G's convolutions before a batch norm have no effect.)
    """

    name, version = "fastdfkd", 1
    paper = Paper(
        "Up to 100x Faster Data-free Knowledge Distillation",
        "Gongfan Fang, Kanya Mo, Xinchao Wang, Jie Song, Shitao Bei, Haofei Zhang, Mingli Song",
        2022,
        "2112.06253",
    )
    checked_with = {"synthesised": 8, "bank_size": 16, "width": 4, "iterations": 2, "warm_up": 1}
    expected_failed_checks = {
        "uses_every_weight": "untrained networks answer no image alike, and so have no adversarial term"
    }

    earlier: Tensor

    class Params(WithBank.Params):
        iterations: int = Field(10, ge=1, description="k, steps of a batch")
        generator_learning_rate: float = Field(2e-3, gt=0, description="in these steps; k times that for G itself")
        latent_learning_rate: float = Field(0.01, gt=0, description="of the latents in these steps")
        latent: int = Field(256, ge=1, description="numbers that an image is made of")
        width: int = Field(64, ge=1, description="channels in the generator")
        ce_weight: float = Field(0.4, ge=0, description="weight of the teacher's answer being the wanted class")
        statistics_weight: float = Field(10.0, ge=0, description="weight of the batch norms' statistics")
        adversarial_weight: float = Field(1.1, ge=0, description="weight of the student's divergence")
        statistics_momentum: float = Field(0.9, ge=0, lt=1, description="m, what earlier batches count")
        warm_up: int = Field(20, ge=0, description="batches before the first epoch, without the adversarial term")
        reset_at: float = Field(0.6, ge=0, description="after which part of the training the first layers begin anew")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        p = self.params
        self.generator = with_sigmoid(ImageGenerator(p.latent, setup.image_shape, p.width))
        self.adapted = copy.deepcopy(self.generator)
        self.latents = nn.Parameter(torch.zeros(p.synthesised, p.latent))
        rate, betas = p.generator_learning_rate, (0.5, 0.999)
        self.meta_adam = Adam(self.generator.parameters(), rate * p.iterations, betas)
        self.adapted_adam = Adam(self.adapted.parameters(), rate, betas)
        self.latent_adam = Adam([self.latents], p.latent_learning_rate, betas)
        self.widths = [layer.num_features for layer in self.batch_statistics.layers]
        self.register_buffer("earlier", torch.zeros(2, sum(self.widths)))

    def synthesise(self, epoch: int) -> None:
        p = self.params
        if epoch == 0:
            for _ in range(p.warm_up):
                self.synthesise_batch(adversarial_weight=0.0)
        if epoch == round(p.reset_at * self.epochs) > 0:
            begin_first_layers_anew(self.generator, self.random)
        self.synthesise_batch(p.adversarial_weight)

    def synthesise_batch(self, adversarial_weight: float) -> None:
        p = self.params
        self.adapted.load_state_dict(self.generator.state_dict())
        self.adapted.train()
        self.adapted_adam.restart()
        self.latent_adam.restart()
        with torch.no_grad():
            self.latents.normal_(generator=self.random)
        labels = self.random_labels(p.synthesised)
        weights = list(self.adapted.parameters())
        total = [torch.zeros_like(w) for w in weights]
        least = math.inf
        for _ in range(p.iterations):
            images = (self.adapted(self.latents) - self.bank.mean) / self.bank.std
            crops = self.crops(images)
            with self.batch_statistics.watched() as given:
                logits = self.read_teacher(crops).logits
                statistics = self.statistics_loss(given)
                now = torch.cat([self.earlier[:, :0], *given], dim=1).detach()
            loss = p.ce_weight * F.cross_entropy(logits, labels) + p.statistics_weight * statistics
            if adversarial_weight > 0:
                loss = loss + adversarial_weight * adversarial_loss(self.read_student(crops).logits, logits)
            if not loss.item() >= least:  # nor if it is not a number
                least, best = loss.item(), images.detach()
            *gradients, of_latents = torch.autograd.grad(loss, [*weights, self.latents])
            total = [t + g for t, g in zip(total, gradients, strict=True)]
            self.adapted_adam.step(gradients)
            self.latent_adam.step([of_latents])
        self.meta_adam.step(total)
        self.earlier.lerp_(now, 1 - p.statistics_momentum if len(self.bank) else 1.0)
        self.bank.add(best)

    def statistics_loss(self, given: list[Tensor]) -> Tensor:
        """The distance from what the batch norms remember, of (2, C) statistics mixed with those of earlier batches."""
        momentum = self.params.statistics_momentum if len(self.bank) else 0.0
        earlier = self.earlier.split(self.widths, dim=1)
        return self.batch_statistics.loss([own.lerp(old, momentum) for own, old in zip(given, earlier, strict=True)])


@torch.no_grad()
def begin_first_layers_anew(generator: ImageGenerator, random: torch.Generator) -> None:
    """Weights of standard deviation 0.02 and mean 0 for the projection and the batch norm after it; no biases."""
    for layer in (generator.project, generator.layers[0]):
        assert isinstance(layer, nn.Linear | nn.BatchNorm2d)
        layer.weight.normal_(0.0, 0.02, generator=random)
        layer.bias.zero_()
