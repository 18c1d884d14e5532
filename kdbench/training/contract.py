"""What a method must keep to while it runs, each breach as a sentence of advice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import NotApplicable
from kdbench.method import Method, Stage
from kdbench.tables import Recipe


def check_state(method: Method, generator: torch.Generator, student: nn.Module) -> None:
    """After `build`: all that is trained, moved or restored is where PyTorch finds it; the student is there already.

    Raises:
        TypeError: an attribute of the method hides parameters, modules, tensors or a generator of its own.
    """
    students = {id(parameter) for parameter in student.parameters()}
    for attribute, value in vars(method).items():
        if attribute in ("_parameters", "_buffers", "_modules"):
            continue
        for item in contents(value):
            where = f"{method.name}.{attribute}"
            if isinstance(item, nn.Parameter | nn.Module):
                if students & {id(p) for p in ([item] if isinstance(item, nn.Parameter) else item.parameters())}:
                    continue
                raise TypeError(
                    f"{where} hides a {type(item).__name__} that is not trained: use nn.ModuleList or nn.ParameterList"
                )
            if isinstance(item, Tensor):
                raise TypeError(
                    f"{where} is lost when a run is interrupted: use self.register_buffer('{attribute}', ...)"
                )
            if isinstance(item, torch.Generator) and item is not generator:
                raise TypeError(
                    f"{where} is a generator of its own, lost when a run is interrupted: use setup.generator"
                )


def contents(value: Any) -> Iterator[Any]:
    """A value and whatever lists, tuples, sets and dicts hold."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from contents(item)
    else:
        yield value


def check_stages(name: str, stages: Sequence[Stage]) -> None:
    """The main stage comes last, under no name; the others have names of their own.

    Raises:
        TypeError: they do not, or what else they say makes no sense.
    """
    names = [stage.name for stage in stages]
    if names[-1]:
        raise TypeError(f"{name}.main must give a stage without a name, not '{names[-1]}'")
    if len(set(names)) != len(names):
        raise TypeError(f"{name}.stages must have names, each once: {names[:-1]}")
    for stage in stages:
        where = f"stage '{stage.name}' of {name}" if stage.name else f"the main stage of {name}"
        if stage.epochs < 1:
            raise TypeError(f"{where} has {stage.epochs} epochs; it needs one at least")
        if stage.learning_rate is not None and not stage.learning_rate > 0:
            raise TypeError(f"{where} has a learning rate of {stage.learning_rate:g}; it must be above 0")
        if stage.cycles < 1 or stage.epochs % stage.cycles:
            raise TypeError(f"{where} has {stage.epochs} epochs, which are not {stage.cycles} equal cycles")
        if not isinstance(stage.rescaled, bool):
            raise TypeError(f"{where} has rescaled={stage.rescaled!r}; it is True or False")


def check_shifts(shifts: Mapping[str, float], recipe: Recipe) -> None:
    """Terms can have these momenta of their own under a recipe.

    Raises:
        NotApplicable: its optimizer has none, or they would be none.
    """
    if shifts and recipe.optimizer != "sgd":
        raise NotApplicable(f"its terms have momenta of their own, and the suite's optimizer is {recipe.optimizer}")
    for term, shift in shifts.items():
        if not 0 <= (momentum := recipe.momentum + shift) < 1:
            given = f"the suite's momentum of {recipe.momentum:g}"
            raise NotApplicable(f"with {given} that of '{term}' is {momentum:g}, and not from 0 to 1")


def check_terms(name: str, terms: Any, known: list[str], shifted: Collection[str] = ()) -> None:
    """What a loss returned is named 0-dim float32 tensors, the same names in every step.

    Args:
        known: the names of the epoch's first step; empty in that step.
        shifted: terms with a momentum of their own.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(terms, dict):
        raise TypeError(f"{name}.loss must return a dict of named terms, not {type(terms).__name__}")
    if not terms:
        raise TypeError(f"{name}.loss returned no terms")
    for term, value in terms.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name}.loss: term '{term}' is a {type(value).__name__}; keep it a tensor, without .item()"
            )
        if value.ndim or not value.is_floating_point():
            found = f"has shape {tuple(value.shape)} and {value.dtype}"
            raise TypeError(f"{name}.loss: term '{term}' {found}; reduce it over the batch to a 0-dim float tensor")
        if value.dtype != torch.float32:
            raise TypeError(f"{name}.loss: term '{term}' is {value.dtype}; compute it in float32 (.float())")
        if term in ("loss", "test_top1"):
            raise TypeError(f"{name}.loss: term '{term}' has a reserved name; call it something else")
    if known and list(terms) != known:
        raise TypeError(
            f"{name}.loss returned the terms {list(terms)} after {known}; return the same ones in every step"
        )
    if unknown := [term for term in shifted if term not in terms]:
        raise TypeError(f"{name}.momentum_shifts names '{unknown[0]}', and loss returned the terms {list(terms)}")
    if not any(value.requires_grad for value in terms.values()):
        raise TypeError(f"{name}.loss: no term depends on the student; were they detached?")
