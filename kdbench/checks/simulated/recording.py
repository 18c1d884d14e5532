"""A recorded graph: operations that had no effect when they were recorded, and run again on the same memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from kdbench.checks.simulated.calls import operation, tensors


class Recording:
    """Operations on plain CPU tensors, in their order.

    Args:
        generators: whose state is put back at the end.
    """

    def __init__(self, generators: list[torch.Generator]) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}  # memory, and what it held
        self.born: dict[int, torch.UntypedStorage] = {}  # memory of the graph's own, kept so that none has its address
        self.states = [(generator, generator.get_state()) for generator in generators]

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operation for what it returns, and record it."""
        given = storages((*args, *kwargs.values()))
        for address, storage in given.items():
            if address not in self.born and address not in self.before:
                self.before[address] = storage, storage.clone()
        out = func(*args, **kwargs)
        made = storages([out])
        self.born |= {address: storage for address, storage in made.items() if address not in given}
        if operation(func).changes or made.keys() - given.keys():  # else it is a view
            self.operations.append((func, args, kwargs, out))
        return out

    def add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Record an operation that was run, and was given no tensor."""
        self.born |= storages([out])
        self.operations.append((func, args, kwargs, out))

    def end(self) -> None:
        """Put all memory and generators back to what they were before the first operation."""
        for storage, copy in self.before.values():
            storage.copy_(copy)
        for generator, state in self.states:
            generator.set_state(state)
        self.before = {}

    def replay(self) -> None:
        """Run the operations, each result into the memory that the recorded one had."""
        for func, args, kwargs, out in self.operations:
            made = func(*args, **kwargs)
            for old, new in zip(tensors([out]), tensors([made]), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def storages(values: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """The memory of all tensors among arguments or results, by address."""
    found = (tensor.untyped_storage() for tensor in tensors(values))
    return {storage._cdata: storage for storage in found}
