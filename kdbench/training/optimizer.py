"""The optimizer of a recipe, and one whose momentum is kept by term of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kdbench.tables import Recipe

STATE = {"sgd": ("momentum_buffer",), "adamw": ("exp_avg", "exp_avg_sq", "step")}  # of each parameter


class TermSGD(torch.optim.SGD):
    """SGD with a momentum for each of some terms of the loss, in a buffer of its gradients alone.

    The terms' steps are taken one after another: v_k = m_k v_k + g_k, w = w - rate * v_k. Weight decay, and terms that
    have no momentum of their own, are with the first.

    Args:
        rate: as in `build_optimizer`.
        shifts: by term, what its momentum has more than the recipe's.

    Attributes:
        parts: by term, for each parameter another one on the same memory, with that term's gradient.
    """

    def __init__(
        self, recipe: Recipe, parameters: Sequence[nn.Parameter], rate: Tensor, shifts: Mapping[str, float]
    ) -> None:
        self.parts = {term: {p: nn.Parameter(p.detach()) for p in parameters} for term in shifts}
        decays = {term: recipe.weight_decay if n == 0 else 0.0 for n, term in enumerate(shifts)}
        groups = [
            {"params": [*part.values()], "momentum": recipe.momentum + shifts[term], "weight_decay": decays[term]}
            for term, part in self.parts.items()
        ]
        super().__init__(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)

    def differentiate(self, terms: Mapping[str, Tensor]) -> None:
        """Gradients of each term for its part, and of their sum for the parameters, as after a backward pass.

        Where a term does not reach a weight that others do, its gradient is 0.
        """
        names = [*self.parts]
        first, last = names[0], names[-1]
        for term, part in self.parts.items():
            values = [value for name, value in terms.items() if (name if name in self.parts else first) == term]
            if any(value.requires_grad for value in values):
                torch.stack(values).sum().backward(retain_graph=term != last, inputs=[*part])
            for parameter, own in part.items():
                own.grad, parameter.grad = parameter.grad, None
        for parameter in self.parts[first]:
            owns = [part[parameter] for part in self.parts.values()]
            if found := [own.grad for own in owns if own.grad is not None]:
                parameter.grad = torch.stack(found).sum(dim=0)
                for own in owns:
                    own.grad = torch.zeros_like(own) if own.grad is None else own.grad

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for parameter in next(iter(self.parts.values())):
            parameter.grad = None


def build_optimizer(
    recipe: Recipe, parameters: Sequence[nn.Parameter], rate: Tensor, shifts: Mapping[str, float] = {}
) -> torch.optim.Optimizer:
    """The fused optimizer, its state made at once, so that a first step is like any other.

    Args:
        rate: 0-dim tensor on the parameters' device, which holds the learning rate of the step.
        shifts: of momentum, as `Method.momentum_shifts`; of SGD alone.
    """
    optimizer: torch.optim.Optimizer
    if shifts:
        optimizer = TermSGD(recipe, parameters, rate, shifts)
    elif recipe.optimizer == "sgd":
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
            for own in stepped(optimizer, parameter).values():
                value = torch.zeros((), device=parameter.device) if name == "step" else torch.zeros_like(parameter)
                optimizer.state[own][name] = value
    return optimizer


def stepped(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, nn.Parameter]:
    """What an optimizer steps in place of a parameter: itself, or its part of each term, by the term."""
    if isinstance(optimizer, TermSGD):
        return {f".{term}": part[parameter] for term, part in optimizer.parts.items()}
    return {"": parameter}


def differentiate(optimizer: torch.optim.Optimizer, terms: Mapping[str, Tensor], loss: Tensor) -> None:
    """The gradients that an optimizer steps by, of terms and of the loss that is their sum."""
    optimizer.zero_grad(set_to_none=True)
    if isinstance(optimizer, TermSGD):
        optimizer.differentiate(terms)
    else:
        loss.backward()


def clip(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], length: float) -> None:
    """Cut the gradient to a length; gradients by term in the same proportion."""
    norm = nn.utils.clip_grad_norm_(parameters, length)
    if isinstance(optimizer, TermSGD):
        scale = (length / (norm + 1e-6)).clamp(max=1)
        owns = [own for part in optimizer.parts.values() for own in part.values()]
        for gradient in (own.grad for own in owns if own.grad is not None):
            gradient.mul_(scale)


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> dict[str, Tensor]:
    """Its state by name and position of the parameter, for a checkpoint."""
    return {
        f"optimizer.{i}{term}.{name}": value
        for i, parameter in enumerate(parameters)
        for term, own in stepped(optimizer, parameter).items()
        for name, value in optimizer.state[own].items()
    }
