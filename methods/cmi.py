"""Contrastive model inversion (Fang et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from kdbench import Adam, Field, Paper, Setup
from kdbench_methods.parts.crops import zoomed
from kdbench_methods.parts.generator import ImageGenerator
from kdbench_methods.parts.image_bank import Ring
from kdbench_methods.parts.with_bank import WithBank


class CMI(WithBank):
    """The student learns KD on images that the teacher was inverted into, each unlike all earlier ones.

    L(x) = ce_weight * CE(z_t(x), y) + statistics_weight * statistics(x) + adversarial_weight * adversarial(x)
             + contrast_weight * contrast(x)
    Then:  L = T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    statistics: sum_l |mean_l(x) - mean_l|_2 + |var_l(x) - var_l|_2 over the teacher's batch norms, if it has any.
    adversarial: -KL(softmax(z_t) || softmax(z_s)) of the images that both networks classify alike.
    contrast: an image is told by a zoomed part of it, in the space of a learned head on the means of the teacher's
    maps, from the other images of the batch and from earlier ones.

    Between epochs a batch x = G(u) is synthesised by a generator that begins anew.

    As the authors' code (github.com/zju-vipa/CMI, datafree/synthesis/contrastive.py, datafree/hooks.py, commit 9e79fa9;
    constants of scripts/cmi/adv_cmi_cifar10_wrn402_wrn161.sh): all terms, both views, which features are kept, the
    optimizers and what begins anew. On purpose otherwise: the code begins with images inverted beforehand, here the
    bank begins empty and the student follows the suite's recipe; the maps are the ends of the stages, where the code
    takes what goes into each stage of its ResNet-34, and into each batch norm of its wide ResNets. (Biases of G's
    convolutions before a batch norm have no effect.)
    """

    name, version = "cmi", 1
    paper = Paper(
        "Contrastive Model Inversion for Data-Free Knowledge Distillation",
        "Gongfan Fang, Jie Song, Xinchao Wang, Chengchao Shen, Xingen Wang, Mingli Song",
        2021,
        "2105.08584",
    )
    requires = WithBank.requires | {"teacher.features"}
    checked_with = {"synthesised": 8, "bank_size": 16, "width": 4, "iterations": 2}
    expected_failed_checks = {
        "uses_every_weight": "untrained networks answer no image alike, and so have no adversarial term"
    }

    class Params(WithBank.Params):
        iterations: int = Field(200, ge=1, description="steps of a generator")
        student_epochs: int = Field(1, ge=1, description="epochs of the student after each synthesis")
        generator_learning_rate: float = Field(1e-3, gt=0, description="of the Adam of generator, latents and head")
        latent: int = Field(256, ge=1, description="numbers that an image is made of")
        width: int = Field(64, ge=1, description="channels in the generator")
        ce_weight: float = Field(0.5, ge=0, description="weight of the teacher's answer being the wanted class")
        statistics_weight: float = Field(1.0, ge=0, description="weight of the batch norms' statistics")
        adversarial_weight: float = Field(0.5, ge=0, description="weight of the student's divergence")
        contrast_weight: float = Field(0.8, ge=0, description="weight of the contrast with other images")
        contrast_temperature: float = Field(0.1, gt=0, description="divides the cosines")
        negatives: int = Field(4096, ge=0, description="earlier images that are contrasted with")
        head_width: int = Field(256, ge=1, description="numbers that an image is told by")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        p = self.params
        features = sum(channels for channels, _, _ in setup.teacher.features)
        self.generator = with_sigmoid(ImageGenerator(p.latent, setup.image_shape, p.width))
        self.latents = nn.Parameter(torch.zeros(p.synthesised, p.latent))
        self.head = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, p.head_width))
        made_of = [*self.generator.parameters(), self.latents]
        self.image_adam = Adam(made_of, p.generator_learning_rate, betas=(0.5, 0.999))
        self.head_adam = Adam(self.head.parameters(), p.generator_learning_rate)
        self.earlier = Ring(max(p.bank_size, p.synthesised), (2, features))

    def synthesise(self, epoch: int) -> None:
        p = self.params
        if epoch % p.student_epochs:
            return
        self.image_adam.restart()
        self.generator.train()
        begin_anew(self.generator, self.random)
        with torch.no_grad():
            self.latents.normal_(generator=self.random)
        labels = self.random_labels(p.synthesised)
        made_of, head = [*self.generator.parameters(), self.latents], list(self.head.parameters())
        black, _ = self.bank.range
        least = math.inf
        for _ in range(p.iterations):
            images = (self.generator(self.latents) - self.bank.mean) / self.bank.std
            crops = self.crops(images)
            with self.batch_statistics.watched() as given:
                teacher = self.read_teacher(crops)
                statistics = self.batch_statistics.loss(given)
            loss = p.ce_weight * F.cross_entropy(teacher.logits, labels) + p.statistics_weight * statistics
            if p.adversarial_weight > 0:
                student = self.read_student(crops).logits
                loss = loss + p.adversarial_weight * adversarial_loss(student, teacher.logits)
            part = self.read_teacher(zoomed(images, 0.25, p.flip, black, self.random))
            means = torch.stack([means_of_maps(part.features), means_of_maps(teacher.features)], dim=1)
            others = self.earlier.subset(p.negatives, self.random)
            contrast = contrastive_loss(self.head(torch.cat([means, others])), len(means), p.contrast_temperature)
            loss = loss + p.contrast_weight * contrast
            if not loss.item() >= least:  # nor if it is not a number
                least, best = loss.item(), (images.detach(), means.detach())
            gradients = torch.autograd.grad(loss, [*made_of, *head])
            self.image_adam.step(gradients[: len(made_of)])
            self.head_adam.step(gradients[len(made_of) :])
        self.bank.add(best[0])
        self.earlier.add(best[1])


def with_sigmoid(generator: ImageGenerator) -> ImageGenerator:
    """The generator with pixels from 0 to 1, by a sigmoid instead of the batch norm at its end."""
    generator.layers[-1] = nn.Sigmoid()
    return generator


@torch.no_grad()
def begin_anew(generator: nn.Module, random: Generator) -> None:
    """Fresh weights of all layers: of mean 0, those of batch norms of mean 1, and of standard deviation 0.02."""
    for layer in generator.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.BatchNorm2d):
            layer.weight.normal_(1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0, 0.02, generator=random)
            if layer.bias is not None:
                layer.bias.zero_()


def adversarial_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """-KL(p_t || p_s) of (B, C) logits: summed over classes and the images of equal answers, over B."""
    log_s, log_t = student_logits.log_softmax(dim=1), teacher_logits.log_softmax(dim=1)
    alike = student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)
    return -(F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1) * alike).mean()


def means_of_maps(features: Sequence[Tensor]) -> Tensor:
    """(B, C_l, H_l, W_l) maps to (B, sum of C_l) means over their positions."""
    return torch.cat([feature.mean(dim=(2, 3)) for feature in features], dim=1)


def contrastive_loss(told: Tensor, new: int, temperature: float) -> Tensor:
    """Cross-entropy of which image a part belongs to: the mean over the new images, plus that over the earlier ones.

    Args:
        told: (N, 2, D) of parts and of images, the new ones first; images get no gradient.
        new: how many are new.
    """
    parts, images = F.normalize(told, dim=2).unbind(dim=1)
    logits = parts @ images.detach().T / temperature
    each = F.cross_entropy(logits, torch.arange(len(logits), device=logits.device), reduction="none")
    return each[:new].mean() + (each[new:].mean() if len(each) > new else 0)
