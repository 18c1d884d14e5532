"""All that changes while a network is trained, written to a checkpoint and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError, writing
from kdbench.method import Method
from kdbench.training.checkpoint import load_tensors, save_tensors
from kdbench.training.optimizer import optimizer_tensors
from kdbench.training.spending import Spending


class Resumable:
    """A training that goes on after an interruption as if there had been none, bit by bit.

    Attributes:
        generator: the method's own.
        parameters: what the optimizer trains, of student and method.
        spending: what was computed so far.
        epochs_done: of all stages.
        seconds: of training so far.
        curve: a value an epoch of each loss term, and the test accuracy.
    """

    student: nn.Module
    method: Method
    device: torch.device
    generator: torch.Generator
    optimizer: torch.optim.Optimizer
    parameters: Sequence[nn.Parameter]
    spending: Spending
    epochs_done: int
    seconds: float
    curve: dict[str, list[float]]

    def save(self, path: Path) -> None:
        """Write everything that a bit-equal continuation needs.

        Raises:
            KdbenchError: the disk is full or the folder cannot be written.
        """
        state: dict[str, Any] = {
            "epochs_done": self.epochs_done,
            "seconds": self.seconds,
            "curve": self.curve,
            "flops": self.spending.flops,
            "passes": self.spending.passes,
            "images": self.spending.images,
        }
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)  # gone where another run finished the cell meanwhile
            save_tensors(path, self.tensors(), state)

    def modules(self) -> dict[str, nn.Module]:
        """All modules that change while training, by a name without a dot."""
        return {"student": self.student, "method": self.method}

    def tensors(self) -> dict[str, Tensor]:
        """All state that changes while training, by name."""
        found = {f"{name}.{k}": v for name, module in self.modules().items() for k, v in module.state_dict().items()}
        found |= optimizer_tensors(self.optimizer, self.parameters)
        found |= {"rng.cpu": torch.get_rng_state(), "rng.method": self.generator.get_state()}
        if self.device.type == "cuda":
            found["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def restore(self, path: Path) -> None:
        """Continue where `save` left off.

        Raises:
            KdbenchError: the checkpoint is corrupt or of another training; nothing was changed.
        """
        tensors, state = load_tensors(path)
        mine = {name: (value.shape, value.dtype) for name, value in self.tensors().items()}
        if mine != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
            raise KdbenchError(f"{path} does not fit: it was written by another version or on another device.")
        for name, module in self.modules().items():
            start = f"{name}."
            module.load_state_dict({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})
        for name, value in optimizer_tensors(self.optimizer, self.parameters).items():
            value.copy_(tensors[name])  # in place: the memory format stays
        torch.set_rng_state(tensors["rng.cpu"])
        self.generator.set_state(tensors["rng.method"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.epochs_done, self.seconds, self.curve = state["epochs_done"], state["seconds"], state["curve"]
        self.spending.flops, self.spending.images = state["flops"], state["images"]
        self.spending.passes = {name: (forward, backward) for name, (forward, backward) in state["passes"].items()}
