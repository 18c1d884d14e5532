"""An operation of PyTorch's dispatcher that is about to run, and what its schema says of it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdbench.checks.simulated.tensors import CPU, GPU, OnGpu, wants_cpu

SILENT = {"native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update"}  # change running statistics


@dataclass(frozen=True)
class Operation:
    """What is known of an operation before its arguments.

    Attributes:
        draws: from a generator.
        pointwise: whether single numbers of the CPU may join tensors of a GPU.
        changes: whether memory that it is given is changed.
        returns: position and name of the argument that it changes and returns, if that is what it does.
    """

    name: str
    draws: bool
    pointwise: bool
    changes: bool
    returns: tuple[int, str] | None


@functools.cache
def operation(func: Any) -> Operation:
    """The facts of an operator; reading its schema is slow."""
    schema, name = func._schema, func.name().split("::")[1].split(".")[0]
    changed = [
        (i, a.name) for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write
    ]
    returned = [r.alias_info for r in schema.returns]
    in_place = len(returned) == 1 and returned[0] is not None and returned[0].is_write
    return Operation(
        name=name,
        draws=any(argument.name == "generator" for argument in schema.arguments),
        pointwise=torch.Tag.pointwise in func.tags,
        changes=schema.is_mutable or name in SILENT,
        returns=changed[0] if in_place else None,
    )


class Call:
    """An operation and its arguments."""

    def __init__(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.func, self.args, self.kwargs, self.operation = func, args, kwargs, operation(func)
        self.name = self.operation.name
        given = list(tensors((*args, *kwargs.values())))
        self.on_gpu = [tensor for tensor in given if isinstance(tensor, OnGpu)]
        self.on_cpu = [tensor for tensor in given if not isinstance(tensor, OnGpu)]
        device = kwargs.get("device")
        self.device = None if device is None else torch.device(device)
        if self.on_gpu and self.device == CPU and not wants_cpu.get():
            self.device = None  # C++ takes its arguments to be there
        self.to_gpu = self.device is not None and self.device.type == "cuda"

    def __str__(self) -> str:
        found = [f"{tuple(t.shape)} on {GPU}" for t in self.on_gpu] + [
            f"{tuple(t.shape)} on {CPU}" for t in self.on_cpu
        ]
        return f"{self.name} of tensors {', '.join(found)}"

    def held(self) -> tuple[list[Any], dict[str, Any]]:
        """The arguments as plain tensors, which the CPU computes with."""
        kwargs = {name: plain(value) for name, value in self.kwargs.items()}
        if self.device is not None or "device" in kwargs:
            kwargs["device"] = CPU
        return [plain(value) for value in self.args], kwargs

    def changed(self) -> Any:
        """The tensor that it changes and returns, if that is what it does."""
        if self.operation.returns is None:
            return None
        position, name = self.operation.returns
        return self.args[position] if position < len(self.args) else self.kwargs[name]


def tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors among arguments or results, which are such or lists of such."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors(value)


def plain(value: Any) -> Any:
    """An argument, its tensors as the CPU has them."""
    if isinstance(value, OnGpu):
        return value.held
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def wrapped(out: Any) -> Any:
    """Results, as tensors of the device."""
    if isinstance(out, Tensor):
        return out if isinstance(out, OnGpu) else OnGpu(out)
    return type(out)(map(wrapped, out)) if isinstance(out, list | tuple) else out
