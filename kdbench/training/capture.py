"""Faster ways to run a step: recorded once as a CUDA graph, or with its networks compiled.

A captured step reads everything that changes from the buffers of its epoch, at a cursor that it moves itself. Running
it again is all that a step takes: no copy to the device, no wait for it.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from kdbench.console import Notice
from kdbench.data.feed import Feed
from kdbench.given import Outputs

Body = Callable[[], None]
Capture = Callable[[Body, torch.Generator], Body]  # returns what runs the body again
WARM_UP = 3  # eager steps that initialise libraries and caches before the capture


def cuda_graph(body: Body, generator: torch.Generator) -> Body:
    """Record a body's kernels, without running them; the generator's draws go on from replay to replay."""
    gc.collect()  # an earlier cell's graph, destroyed during the capture, would spoil it
    with torch.cuda.device(generator.device):
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        graph.register_generator_state(generator)
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(graph):
                body()
        finally:
            torch.cuda.set_stream(stream)  # which a failed capture does not return to
    return graph.replay


class CapturedStep:
    """The step of a training, recorded once and run again for each full batch.

    Args:
        feed: an epoch's inputs, copied into buffers of the step's own.
        step: trains on batch i of a feed, i being a (1,) tensor; returns the loss terms (T,).
        num_terms: T.
        capture: `cuda_graph`; a test passes one that needs no GPU.
    """

    def __init__(
        self,
        feed: Feed,
        step: Callable[[Feed, Tensor], Tensor],
        num_terms: int,
        generator: torch.Generator,
        capture: Capture = cuda_graph,
    ) -> None:
        self.feed = Feed(**{f.name: getattr(feed, f.name).clone() for f in fields(feed)})
        self.cursor = torch.zeros(1, dtype=torch.int64, device=feed.step.device)
        # Not a number until they are computed: a capture that recorded nothing is then a loss that diverged.
        self.terms = torch.full((num_terms, len(feed.step)), math.nan, device=feed.step.device)
        self.step = step
        self.replay = capture(self.body, generator)

    def body(self) -> None:
        terms = self.step(self.feed, self.cursor)
        self.terms.index_copy_(1, self.cursor, terms[:, None])
        self.cursor += 1

    def run(self, feed: Feed, first: int, last: int) -> Tensor:
        """Train on the batches from `first` up to `last`; returns their loss terms (T, last - first)."""
        for f in fields(feed):
            getattr(self.feed, f.name).copy_(getattr(feed, f.name))
        self.cursor.fill_(first)
        for _ in range(first, last):
            self.replay()
        return self.terms[:, first:last].clone()


class Compiled:
    """A network's outputs through torch.compile; eagerly, and said so, where that fails."""

    def __init__(self, read: Callable[[Tensor], Outputs], notice: Notice) -> None:
        self.read, self.notice = read, notice
        self.fast = torch.compile(read)

    def __call__(self, images: Tensor) -> Outputs:
        try:
            return self.fast(images)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what compilers raise
            said = (str(error).splitlines() or [type(error).__name__])[0]
            self.notice(f"torch.compile failed, the network runs eagerly: {said}")
            self.fast = self.read
            return self.read(images)
