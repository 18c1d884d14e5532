"""What PyTorch's Python code is told while a GPU is simulated: that it is there, with its streams and graphs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from kdbench.checks.simulated.device import SimulatedGpu
from kdbench.checks.simulated.recording import Recording
from kdbench.checks.simulated.tensors import CPU, GPU, OnGpu

GROUPING = "_group_tensors_by_device_and_dtype"
GROUPED_IN = ("torch.utils._foreach_utils", "torch.optim.optimizer", "torch.nn.utils.clip_grad")


class Stream:
    """A stream; operations are in order whatever theirs is."""

    def __init__(self, gpu: SimulatedGpu, device: Any = None) -> None:
        self.gpu = gpu

    def wait_stream(self, other: Stream) -> None: ...

    def is_capturing(self) -> bool:
        return self.gpu.recording is not None


class Streams:
    """Which stream is the current one."""

    def __init__(self, gpu: SimulatedGpu) -> None:
        self.gpu, self.current = gpu, Stream(gpu)

    def get(self, device: Any = None) -> Stream:
        return self.current

    def set(self, stream: Stream) -> None:
        self.current = stream

    @contextmanager
    def using(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def capturing(self, graph: Graph, stream: Stream) -> Iterator[None]:
        """As `torch.cuda.graph`, which does not return from its stream where it fails."""
        before, self.current = self.current, stream
        self.gpu.begin_recording()
        try:
            yield
        finally:
            graph.recording = self.gpu.end_recording()
        self.current = before


class Graph:
    """A CUDA graph."""

    recording: Recording

    def __init__(self, gpu: SimulatedGpu) -> None:
        self.gpu = gpu

    def replay(self) -> None:
        self.gpu.replay(self.recording)


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGpu]:
    """Within it `torch.device("cuda")` is the simulated one, whose tensors do not outlive it."""
    gpu = SimulatedGpu()
    streams = Streams(gpu)
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        for owner, name, value in (*names_of_cuda(gpu, streams), *names_of_torch(gpu, streams)):
            stack.enter_context(patch.object(owner, name, value))
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swaps)
        torch.__future__.set_swap_module_params_on_conversion(True)  # modules get parameters of another class
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") is a copy
        stack.enter_context(gpu)
        yield gpu


Told = tuple[Any, str, Any]  # a module, a name there, what stands in for it


def names_of_cuda(gpu: SimulatedGpu, streams: Streams) -> list[Told]:
    """Of `torch.cuda`."""
    cuda = torch.cuda
    return [
        (cuda, "_lazy_init", lambda: None),
        (cuda, "is_available", lambda: True),
        (cuda, "device_count", lambda: 1),
        (cuda, "current_device", lambda: 0),
        (cuda, "set_device", lambda device: None),
        (cuda, "get_device_name", lambda device=None: "simulated"),
        (cuda, "synchronize", lambda device=None: None),
        (cuda, "get_rng_state", lambda device=None: gpu.default.get_state()),
        (cuda, "manual_seed_all", gpu.default.manual_seed),
        (cuda, "set_rng_state", lambda state, device=None: gpu.default.set_state(state)),
        (cuda, "is_current_stream_capturing", lambda: gpu.recording is not None),
        (cuda, "Stream", partial(Stream, gpu)),
        (cuda, "current_stream", streams.get),
        (cuda, "set_stream", streams.set),
        (cuda, "stream", streams.using),
        (cuda, "CUDAGraph", partial(Graph, gpu)),
        (cuda, "graph", streams.capturing),
    ]


def names_of_torch(gpu: SimulatedGpu, streams: Streams) -> list[Told]:
    """Of PyTorch elsewhere."""
    modules = [importlib.import_module(name) for name in GROUPED_IN]
    autocast, group = torch.autocast, getattr(modules[0], GROUPING)

    def autocast_on_cpu(device_type: str, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return autocast("cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    def grouped(lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
        found = group(lists, with_indices)
        return {(device_of(values[0]), key[1]): values for key, values in found.items()}

    return [
        (torch, "Generator", generators_of(gpu)),
        (torch, "autocast", autocast_on_cpu),
        (torch.accelerator, "is_available", lambda: True),
        (torch.accelerator, "current_stream", streams.get),
        *((module, GROUPING, grouped) for module in modules),
    ]


def device_of(lists: list[list[Any]]) -> torch.device:
    return GPU if any(isinstance(tensor, OnGpu) for tensors in lists for tensor in tensors) else CPU


def generators_of(gpu: SimulatedGpu) -> type[torch.Generator]:
    """`torch.Generator`, of the GPU where it is asked for."""

    class Generator(torch.Generator):
        def __new__(cls, device: Any = "cpu") -> Generator:
            self = super().__new__(cls)
            if torch.device(device).type == "cuda":
                gpu.adopt(self)
            return self

        def __init__(self, device: Any = "cpu") -> None: ...

        device = property(lambda self: GPU if gpu.owns(self) else CPU)

    return Generator
