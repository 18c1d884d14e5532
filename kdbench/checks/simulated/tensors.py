"""Tensors of the simulated GPU, and what Python asks them before PyTorch's dispatcher is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
FACTS = {Tensor.is_cuda.__get__: True, Tensor.is_cpu.__get__: False, Tensor.is_meta.__get__: False}  # type: ignore[attr-defined]
wants_cpu: ContextVar[bool] = ContextVar("wants_cpu", default=False)  # the user named the CPU: it is no guess of C++'s


class OnGpu(Tensor):
    """A tensor that says `cuda:0`; `held` has its values.

    To C++, and so to autograd, it is a CPU tensor on the same memory.
    """

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        self: OnGpu = Tensor._make_subclass(cls, held, False)
        self.held = held
        return self

    def __repr__(self, *, tensor_contents: object = None) -> str:  # type: ignore[override]
        return f"OnGpu({self.held!r})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func == Tensor.device.__get__:
            return GPU
        if func in FACTS:
            return FACTS[func]
        if func == Tensor.get_device:
            return GPU.index
        if func == Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if func == Tensor.tolist:
            return args[0].cpu().tolist()
        if func is torch.nn.functional.one_hot:  # whose C++ reads the classes to check them, on a CPU alone
            return one_hot(*args, **named)
        with torch._C.DisableTorchFunctionSubclass():
            if func == Tensor.cpu or (func == Tensor.to and any(map(is_cpu, (*args[1:], *named.values())))):
                return to_cpu(args, named)
            if is_cpu(named.get("device")):
                return on_cpu(lambda: func(*args, **named))
            return func(*args, **named)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise RuntimeError(f"{func} on a tensor of a simulated GPU after the simulation has ended")


def is_cpu(value: Any) -> bool:
    """Whether an argument of `to` or a `device` stands for the CPU."""
    if type(value) is Tensor:
        return True
    return isinstance(value, str | torch.device) and torch.device(value).type == "cpu"


def on_cpu(run: Callable[[], Any]) -> Any:
    """Run what asks for a result on the CPU, which would else be taken for the device of its arguments."""
    token = wants_cpu.set(True)
    try:
        return run()
    finally:
        wants_cpu.reset(token)


def to_cpu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """A copy on the CPU, made as `Tensor.cpu` and `Tensor.to` do."""
    dtype = next((a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.dtype)), None)
    return on_cpu(lambda: torch.ops.aten._to_copy(args[0], device=CPU, dtype=dtype))


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """As CUDA's, of classes that nobody checks."""
    hot = torch.zeros((*labels.shape, num_classes), dtype=torch.int64, device=GPU)
    return hot.scatter(-1, labels.unsqueeze(-1), 1)
