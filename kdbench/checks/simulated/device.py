"""The simulated GPU itself: every operation passes here, and is refused where CUDA would refuse it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.checks.simulated.calls import Call, wrapped
from kdbench.checks.simulated.recording import Recording
from kdbench.checks.simulated.tensors import CPU, OnGpu

# Operations whose kernels wait for the device, though nothing in Python reads a value.
WAITING = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "argwhere", "masked_select", "multinomial", "bincount"),
    *("_unique2", "unique_dim", "unique_consecutive", "histc", "_linalg_eigh", "_linalg_svd", "_linalg_check_errors"),
}
READING = {"_local_scalar_dense", "is_nonzero", "equal"}  # return a Python value
INDEXING = {"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"}


class MixedDevices(RuntimeError):
    """Tensors or generators of two devices in one operation."""


class WaitsForDevice(RuntimeError):
    """The host waits for the device where it must not."""


class SimulatedGpu(TorchDispatchMode):
    """Runs operations for tensors that say they are on a GPU.

    Attributes:
        waits: how often the host waited for the device, by the operation.
        default: its default generator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.may_wait, self.replaying = True, False
        self.recording: Recording | None = None
        self.generators: dict[int, torch.Generator] = {}  # by address; kept, so that none has another's
        self.default = torch.Generator()
        self.adopt(self.default)

    def adopt(self, generator: torch.Generator) -> None:
        """A generator is one of this device."""
        self.generators[address(generator)] = generator

    def owns(self, generator: torch.Generator) -> bool:
        """Whether a generator is one of this device."""
        return address(generator) in self.generators

    @contextmanager
    def waits_forbidden(self) -> Iterator[None]:
        """A wait of the host for the device raises."""
        before, self.may_wait = self.may_wait, False
        try:
            yield
        finally:
            self.may_wait = before

    def wait(self, what: str) -> None:
        """The host waits.

        Raises:
            WaitsForDevice: where it must not.
        """
        self.waits[what] += 1
        if self.recording is not None:
            raise WaitsForDevice(f"{what}: operation not permitted when stream is capturing")
        if not self.may_wait:
            raise WaitsForDevice(what)

    def begin_recording(self) -> None:
        self.recording = Recording([*self.generators.values(), torch.default_generator])

    def end_recording(self) -> Recording:
        """What was recorded since; nothing of it has happened."""
        assert self.recording is not None
        recording, self.recording = self.recording, None
        recording.end()
        return recording

    def replay(self, recording: Recording) -> None:
        self.replaying = True
        try:
            recording.replay()
        finally:
            self.replaying = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.replaying:
            return func(*args, **(kwargs or {}))
        call = Call(func, args, dict(kwargs or {}))
        if call.name in ("is_pinned", "_pin_memory"):
            return self.pin(call)
        self.choose_generator(call)
        if call.name in ("_to_copy", "copy_") and (call.to_gpu or call.on_gpu):
            return self.copy(call)
        if not call.on_gpu:
            return self.make(call)
        self.check_devices(call)
        self.note_waits(call)
        out = self.run(call)
        if call.name in READING or call.device == CPU:
            return out
        changed = call.changed()
        return wrapped(out) if changed is None else changed

    def run(self, call: Call) -> Any:
        """The operation on plain tensors."""
        args, kwargs = call.held()
        return call.func(*args, **kwargs) if self.recording is None else self.recording.run(call.func, args, kwargs)

    def pin(self, call: Call) -> Any:
        """Page-locked memory, from which a copy need not be waited for."""
        if call.name == "is_pinned":
            return hasattr(call.args[0], "page_locked")
        out = call.args[0].clone()
        out.page_locked = True
        return out

    def make(self, call: Call) -> Any:
        """An operation without tensors of the device: on the CPU, or one that makes a tensor on the device."""
        if call.to_gpu:
            return wrapped(self.run(call))
        out = call.func(*call.args, **call.kwargs)
        if call.device is not None and not call.on_cpu and torch._C._current_graph_task_id() != -1:
            # In a backward pass C++ makes zeros on the device that it takes for that of the gradients.
            if self.recording is not None:
                self.recording.add(call.func, call.args, call.kwargs, out)
            return wrapped(out)
        return out

    def copy(self, call: Call) -> Any:
        """A copy from one device to the other, or within one."""
        if call.name == "copy_":
            target, source = call.args[0], call.args[1]
            blocking = not (call.args[2] if len(call.args) > 2 else call.kwargs.get("non_blocking", False))
            onto_gpu, result = isinstance(target, OnGpu), target
        else:
            [source] = call.args
            blocking = not call.kwargs.get("non_blocking", False)
            onto_gpu, result = call.to_gpu or call.device is None, None
        from_gpu = isinstance(source, OnGpu)
        if from_gpu != onto_gpu and (blocking or not hasattr(source, "page_locked")):
            self.wait(f"a copy to the {'GPU' if onto_gpu else 'CPU'}")
        out = self.run(call)
        if result is not None:
            return result
        return wrapped(out) if onto_gpu else out

    def choose_generator(self, call: Call) -> None:
        """A draw is from a generator of its own device.

        Raises:
            MixedDevices: it is not.
        """
        if not call.operation.draws:
            return
        generator, onto_gpu = call.kwargs.get("generator"), call.to_gpu or bool(call.on_gpu)
        if generator is not None and self.owns(generator) != onto_gpu:
            wanted, found = ("cuda", "cpu") if onto_gpu else ("cpu", "cuda")
            raise MixedDevices(f"{call.name}: expected a '{wanted}' device type for generator but found '{found}'")
        if generator is None and onto_gpu:
            call.kwargs["generator"] = self.default

    def check_devices(self, call: Call) -> None:
        """All tensors are on the device, but for single numbers in pointwise operations and to fill with, and indices.

        Raises:
            MixedDevices: they are not.
        """
        joins = call.operation.pointwise or call.name in INDEXING or call.name == "fill_"
        for tensor in call.on_cpu:
            if call.name in INDEXING and any(tensor is index for index in call.args[1]):
                self.wait("indexing with a tensor of the CPU")
            elif tensor.dim() or not joins or tensor is call.changed():
                raise MixedDevices(f"{call}: expected all tensors to be on the same device")

    def note_waits(self, call: Call) -> None:
        if call.name in WAITING:
            self.wait("reading a tensor's value" if call.name == "_local_scalar_dense" else call.name)
        if call.name in INDEXING and any(is_mask(index) for index in call.args[1]):
            self.wait("indexing with a mask")
        if call.name == "repeat_interleave" and call.kwargs.get("output_size") is None:
            self.wait("repeat_interleave without output_size")


def address(generator: torch.Generator) -> int:
    """Of what C++ has, whichever Python object stands for it."""
    found: int = generator._cdata  # type: ignore[attr-defined]
    return found


def is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
