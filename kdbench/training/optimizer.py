"""The optimizer of a recipe and its learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench.tables import Recipe

STATE = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq", "step")}  # of each parameter


def build_optimizer(recipe: Recipe, parameters: Sequence[nn.Parameter], rate: Tensor) -> torch.optim.Optimizer:
    """The fused optimizer, its state made at once, so that a first step is like any other.

    Args:
        rate: 0-dim tensor on the parameters' device, which holds the learning rate of the step.
    """
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
    else:
        optimizer = torch.optim.AdamW(
            parameters, lr=rate, weight_decay=recipe.weight_decay, fused=True, capturable=rate.is_cuda
        )
    for parameter in parameters:
        for name in STATE[recipe.optimizer]:
            scalar = name == "step"
            value = torch.zeros((), device=parameter.device) if scalar else torch.zeros_like(parameter)
            optimizer.state[parameter][name] = value
    return optimizer


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Its state by name and position of the parameter, for a checkpoint."""
    return {
        f"optimizer.{i}.{name}": value
        for i, parameter in enumerate(parameters)
        for name, value in optimizer.state[parameter].items()
    }
