"""Runs a data-free method through its contract on closed-form latents, with small networks that see its images.

A case is as in `golden`, but that

    setup       gives batch_size and image_shape
    epoch       the last of those before which a method with a bank synthesises
    student     left out: both networks are two convolutions of stride 1 and 2 to 4 and 6 maps, each with batch norm
    teacher     and ReLU, a mean, a classifier of `setup.num_classes`. Weights as in `golden`, with 10 added to the
                student's place and 20 to the teacher's; running means 0.1 and variances 1 + 0.1 times the formula
    terms       "made": what the images are made by (the generator's loss, or that of the last iteration of the last
                synthesis), and those of the student's loss on these images (of a bank, on those of the formula)
    gradients   "made": norm of all those of the first; "student": of the second, in all of the student's weights

Latents are the formula with a = 0.83, b = 0.4; those of a method with a bank are drawn by the generator of seed 1. No
optimizer moves anything, so that images stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import Adam, Batch, Method, Outputs, Setup, Shapes
from kdbench_methods.parts.with_bank import WithBank
from tests.conftest import golden
from tests.methods.golden import IMAGES, Case, Found, formula_weight, set_weights

PLACES = {"student": 10, "teacher": 20}


class Seeing(nn.Module):
    """A small network in float64 whose outputs depend on its images."""

    def __init__(self, role: str, channels: int, classes: int) -> None:
        super().__init__()
        self.role = role
        self.first = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, 2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.classifier = nn.Linear(6, classes)
        self.double()
        with torch.no_grad():
            for k, weight in enumerate(self.parameters(), PLACES[role]):
                weight.copy_(formula_weight(list(weight.shape), k))
            for k, norm in enumerate((self.first[1], self.second[1]), PLACES[role]):
                norm.running_mean.copy_(0.1 * formula_weight([norm.num_features], k))
                norm.running_var.copy_(1 + 0.1 * formula_weight([norm.num_features], k + 2))
        if role == "teacher":
            self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Outputs:
        low = self.first(images)
        high = self.second(low)
        embedding = high.mean(dim=(2, 3))
        return Outputs(self.role, logits=self.classifier(embedding), embedding=embedding, features=[low, high])


def latents(size: int, width: int) -> Tensor:
    """(B, L) of them."""
    return golden([size, width], 0.83, 0.4)


def run_without_data(cls: type[Method], case: Case) -> Found:
    """Both losses of a case, and the norms of their gradients."""
    given = dict(case["setup"])
    classes, shape = given["num_classes"], tuple(given.pop("image_shape"))
    networks = {role: Seeing(role, shape[0], classes) for role in PLACES}
    method = cls(cls.Params.model_validate(case.get("params", {})))
    torch.manual_seed(0)
    method.build(setup_of(networks, shape, given))
    method.main(given.get("epochs", 1))
    method.double().train()
    set_weights(method, [])
    with recorded() as made:
        batch = make(method, case.get("epoch", 0), networks["student"])
    student, teacher = (network(batch.images) for network in networks.values())
    terms = method.loss(batch, student, teacher)
    total = torch.stack(list(terms.values())).sum()
    return Found(
        terms={"made": made[-1][0], **{name: value.item() for name, value in terms.items()}},
        outputs={
            "made": made[-1][1],
            "student": norm(torch.autograd.grad(total, list(networks["student"].parameters()))),
        },
        weights={},
    )


def setup_of(networks: dict[str, Seeing], image_shape: tuple[int, ...], given: Case) -> Setup:
    channels, rows, columns = image_shape
    maps = ((4, rows, columns), (6, -(-rows // 2), -(-columns // 2)))
    shapes = {role: Shapes(role, embedding=6, features=maps) for role in networks}
    values: dict[str, Any] = {"mean": (0.0,) * channels, "std": (1.0,) * channels, "num_steps": 10, **given}
    return Setup(
        **shapes,
        **values,
        image_shape=(channels, rows, columns),
        train_labels=torch.zeros(0, dtype=torch.int64),
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(1),
        read_student=networks["student"].forward,  # as a function, no module of the method's
        read_teacher=networks["teacher"].forward,
        teacher_network=networks["teacher"],
    )


def make(method: Any, epoch: int, student: nn.Module) -> Batch:
    """The batch of images that the student is shown."""
    nothing, zero = torch.zeros(0, dtype=torch.int64), torch.tensor(0)
    batch = Batch(torch.zeros(0), nothing, nothing, None, zero, zero, torch.tensor(0.0), number=0)
    if not isinstance(method, WithBank):
        method.latents = lambda size: latents(size, method.params.latent)
        return method.inputs(batch)
    for each in range(epoch + 1):
        method.before_epoch("", each, student)
    return replace(batch, images=golden([method.batch_size, *method.bank.ring.rows.shape[1:]], *IMAGES))


@contextmanager
def recorded() -> Iterator[list[tuple[float, float]]]:
    """Within it optimizers of methods stand still, and losses and norms of their gradients are noted."""
    found: list[tuple[float, float]] = []
    grad, step = torch.autograd.grad, Adam.step

    def noted(loss: Tensor, weights: Any, **options: Any) -> tuple[Tensor, ...]:
        gradients = grad(loss, weights, **options)
        found.append((loss.item(), norm(gradients)))
        return gradients

    torch.autograd.grad, Adam.step = noted, lambda *_, **__: None  # type: ignore[assignment, method-assign]
    try:
        yield found
    finally:
        torch.autograd.grad, Adam.step = grad, step  # type: ignore[method-assign]


def norm(gradients: tuple[Tensor, ...]) -> float:
    """Of all of them together."""
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt().item()
