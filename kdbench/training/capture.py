"""Faster ways to run a step: recorded once as a CUDA graph, and with its networks compiled.

A captured step reads everything that changes from the buffers of its epoch, at a cursor that it moves itself. Running
it again is all that a step takes: no copy to the device, no wait for it.
"""

from __future__ import annotations

import functools
import gc
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

import torch
from torch import Tensor

from kdbench.console import Notice
from kdbench.data.feed import Feed
from kdbench.given import Outputs
from kdbench.tables import Execution

Body = Callable[[], None]
WARM_UP = 3  # eager steps that initialise libraries and caches before the capture


def captures(execution: Execution, device: torch.device) -> bool:
    """Whether steps that run so are recorded on a device, if they can be."""
    return execution == "captured" or (execution == "compiled" and device.type == "cuda")


class CaptureFailed(Exception):
    """A step that cannot be captured, and why.

    In older versions of PyTorch its generators refuse to be drawn from ever after: go on in a fresh process.
    """


@contextmanager
def naming(method: str) -> Iterator[None]:
    """A refusal names the method.

    Raises:
        CaptureFailed: the step cannot be recorded; the training cannot go on.
    """
    try:
        yield
    except CaptureFailed as error:
        raise CaptureFailed(f"The step of '{method}' cannot be captured and runs eagerly: {error}") from error


@functools.cache
def stream_of(make: Callable[[torch.device], torch.cuda.Stream], device: torch.device) -> torch.cuda.Stream:
    """The one side stream of a device: libraries keep memory for every stream that they ever ran on.

    Args:
        make: `torch.cuda.Stream`, or what stands in for it where a GPU is simulated.
    """
    return make(device)


@contextmanager
def side_stream(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """One stream for warm-up and capture, which begins after the current stream's work, as that goes on after its."""
    current, side = torch.cuda.current_stream(device), stream_of(torch.cuda.Stream, device)
    side.wait_stream(current)
    try:
        with torch.cuda.stream(side):
            yield side
    finally:
        torch.cuda.set_stream(current)  # to which a failed capture does not return
    current.wait_stream(side)


def cuda_graph(body: Body, generator: torch.Generator, stream: torch.cuda.Stream) -> Body:
    """Record a body's kernels, without running them; the generator's draws go on from replay to replay.

    Args:
        stream: the current one, on which the body ran before.

    Returns:
        what runs them again, on whatever stream.

    Raises:
        CaptureFailed: they cannot be recorded.
        OutOfMemoryError: the device is full.
    """
    gc.collect()  # an earlier cell's graph, destroyed during the capture, would spoil it
    graph = torch.cuda.CUDAGraph()
    register(graph, generator)
    torch.cuda.synchronize()
    try:
        with torch.cuda.graph(graph, stream=stream):
            body()
    except Exception as error:
        cause = error.__context__ or error  # the end of a failed capture has a complaint of its own
        if isinstance(cause, torch.OutOfMemoryError):
            raise cause from None
        raise CaptureFailed((str(cause).splitlines() or [type(cause).__name__])[0]) from error
    return graph.replay


def register(graph: torch.cuda.CUDAGraph, generator: torch.Generator) -> None:
    """Tell older PyTorch which generator a graph draws from; newer ones find out, and warn of being told."""
    tell = getattr(graph, "register_generator_state", None)
    if tell is not None:
        with warnings.catch_warnings(action="ignore"):
            tell(generator)


class CapturedStep:
    """The step of a training, recorded once and run again for each full batch.

    It holds neither the step nor its training, which hold it: their memory on the device is free once they are dropped.

    Args:
        feed: an epoch's inputs, copied into buffers of the step's own.
        step: trains on batch i of a feed, i being a (1,) tensor; returns the loss terms (T,).
        num_terms: T.
        stream: the current one, on which the step ran before.

    Raises:
        CaptureFailed: as `cuda_graph`.
    """

    def __init__(
        self,
        feed: Feed,
        step: Callable[[Feed, Tensor], Tensor],
        num_terms: int,
        generator: torch.Generator,
        stream: torch.cuda.Stream,
    ) -> None:
        self.feed = Feed(**{f.name: getattr(feed, f.name).clone() for f in fields(feed)})
        self.cursor = torch.zeros(1, dtype=torch.int64, device=feed.step.device)
        # Not a number until they are computed: a capture that recorded nothing is then a loss that diverged.
        self.terms = torch.full((num_terms, len(feed.step)), math.nan, device=feed.step.device)

        def body() -> None:
            terms = step(self.feed, self.cursor)
            self.terms.index_copy_(1, self.cursor, terms[:, None])
            self.cursor += 1

        self.replay = cuda_graph(body, generator, stream)

    def run(self, feed: Feed, first: int, last: int) -> Tensor:
        """Train on the batches from `first` up to `last`; returns their loss terms (T, last - first)."""
        for f in fields(feed):
            getattr(self.feed, f.name).copy_(getattr(feed, f.name))
        self.cursor.fill_(first)
        for _ in range(first, last):
            self.replay()
        return self.terms[:, first:last].clone()


class Compiled:
    """A network's outputs through torch.compile; eagerly, and said so, where that fails.

    It is compiled for batches as large as the first one. Others, as an epoch's last, run eagerly: each size would be
    compiled anew.
    """

    def __init__(self, read: Callable[[Tensor], Outputs], notice: Notice) -> None:
        self.read, self.notice = read, notice
        self.fast = torch.compile(read)
        self.size: int | None = None

    def __call__(self, images: Tensor) -> Outputs:
        self.size = self.size or len(images)
        if len(images) != self.size:
            return self.read(images)
        try:
            return self.fast(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what compilers raise
            if images.is_cuda and torch.cuda.is_current_stream_capturing():
                raise  # it was compiled before
            said = (str(error).splitlines() or [type(error).__name__])[0]
            self.notice(f"torch.compile failed, the network runs eagerly: {said}")
            self.fast = self.read
            return self.read(images)
