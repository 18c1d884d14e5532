"""When things happen in a training: the learning rate of a step, the epochs after which it is evaluated."""

from __future__ import annotations

import math

from kdbench.tables import Recipe


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one step, in closed form (PyTorch's OneCycleLR and MultiStepLR)."""
    peak = recipe.learning_rate
    if recipe.schedule == "multistep":
        return peak * recipe.decay ** sum(step // steps_per_epoch >= m for m in recipe.milestones)
    total = recipe.epochs * steps_per_epoch
    top = 0.3 * total - 1  # the step of the peak
    start, end = peak / 25, peak / 25 / 1e4
    if step <= top:
        return peak + (start - peak) * (1 + math.cos(math.pi * step / top)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - top) / (total - 1 - top))) / 2


def evaluations(epochs: int, of_recipe: int, images: int, test_images: int) -> int:
    """How often the test accuracy is taken in a main stage.

    After each epoch; where one has fewer images than the test set, after as many epochs as have that many; and no
    oftener than in the recipe's epochs, where the stage is longer.
    """
    return max(1, min(epochs, of_recipe // math.ceil(test_images / images)))


def evaluated(epochs: int, count: int) -> list[int]:
    """The epochs, from 1 on, after which so many test accuracies were taken: evenly spread, the last among them."""
    return [epochs * k // count for k in range(1, count + 1)]
