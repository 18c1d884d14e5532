"""Training one network under one method: the loop, its checkpoints and the prediction at its end.

The trainer owns the data. A method sees training batches alone; the test set is read by `predict`, after an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.checkpoint import load_tensors, save_tensors
from kdbench.contract import check_terms
from kdbench.data import Dataset
from kdbench.errors import KdbenchError, writing
from kdbench.method import Batch, Method, Outputs
from kdbench.outputs import OutputReader
from kdbench.stream import epoch_stream, torch_seed
from kdbench.suite import Data, Recipe
from kdbench.views import Normalize, Views

OnEpoch = Callable[[int, float | None], None]  # (epochs done, mean loss of the last one)
CHECKPOINT_EVERY = 1.0  # seconds at least, at an epoch's end
CHECKPOINT_SHARE = 0.05  # of the time at most


class Diverged(Exception):
    """A loss that is no longer finite."""


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of one step, in closed form (PyTorch's OneCycleLR and MultiStepLR)."""
    peak = recipe.learning_rate
    if recipe.schedule == "multistep":
        return peak * recipe.decay ** sum(step // steps_per_epoch >= m for m in recipe.milestones)
    total = recipe.epochs * steps_per_epoch
    top = 0.3 * total - 1  # the step of the peak
    start, end = peak / 25, peak / 25 / 1e4
    if step <= top:
        return peak + (start - peak) * (1 + math.cos(math.pi * step / top)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - top) / (total - 1 - top))) / 2


class Trainer:
    """One training from its first step to its last, with everything that a checkpoint must hold.

    Args:
        stream: name of the data stream; with `seed` it determines batches and views.
        student: the network to train, with its initial weights.
        method: built for this pair.
        read_student, read_teacher: make the outputs that the method requires.
        generator: the method's own.
    """

    def __init__(
        self,
        data: Data,
        recipe: Recipe,
        dataset: Dataset,
        stream: str,
        seed: int,
        student: nn.Module,
        method: Method,
        read_student: OutputReader,
        read_teacher: OutputReader | None,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.data, self.recipe, self.stream, self.seed, self.device = data, recipe, stream, seed, device
        self.student, self.method, self.generator = student, method, generator
        self.read_student, self.read_teacher = read_student, read_teacher
        self.views = Views(data, dataset.train_images, device)
        self.labels = dataset.train_labels.to(device)
        self.test_images, self.test_labels = dataset.test_images.to(device), dataset.test_labels.to(device)
        self.steps_per_epoch = math.ceil(len(self.labels) / recipe.batch_size)
        self.parameters = [p for p in (*student.parameters(), *method.parameters()) if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            self.parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.epochs_done = 0
        self.seconds = 0.0
        self.curve: dict[str, list[float]] = {}

    def train(self, checkpoint: Path, on_epoch: OnEpoch = lambda epochs_done, loss: None) -> None:
        """Train to the last epoch, from the first or from what `restore` read; keep `checkpoint` fresh.

        Raises:
            Diverged: a loss term became infinite or not a number.
            KdbenchError: the disk is full or the folder cannot be written.
        """
        if self.epochs_done == 0:
            torch.manual_seed(torch_seed(self.stream, self.seed, "dropout"))
        on_epoch(self.epochs_done, None)
        saved, pause = time.monotonic(), CHECKPOINT_EVERY
        while self.epochs_done < self.recipe.epochs:
            started = time.monotonic()
            terms = self.train_epoch(self.epochs_done)
            terms["test_top1"] = self.test_top1()
            for name, value in terms.items():
                self.curve.setdefault(name, []).append(value)
            self.epochs_done += 1
            now = time.monotonic()
            self.seconds += now - started
            if now - saved > pause and self.epochs_done < self.recipe.epochs:
                self.save(checkpoint)
                saved = time.monotonic()
                pause = max(CHECKPOINT_EVERY, (saved - now) / CHECKPOINT_SHARE)
            on_epoch(self.epochs_done, terms["loss"])

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training set; the last short batch is kept.

        Returns:
            the mean of each loss term and of their sum, "loss", over the samples.
        """
        self.student.train()
        self.method.train()
        n, size = len(self.labels), self.recipe.batch_size
        order, view = epoch_stream(self.stream, self.seed, epoch, n, self.data.num_views)
        index, views = torch.from_numpy(order).to(self.device), torch.from_numpy(view).to(self.device)
        total = self.recipe.epochs * self.steps_per_epoch
        values: dict[str, list[Tensor]] = {}
        for i in range(self.steps_per_epoch):
            step = epoch * self.steps_per_epoch + i
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(self.recipe, step, self.steps_per_epoch)
            rows, cut = index[i * size : (i + 1) * size], views[i * size : (i + 1) * size]
            batch = Batch(
                images=self.views(rows, cut),
                labels=self.labels[rows],
                index=rows,
                view=cut,
                epoch=torch.tensor(epoch, device=self.device),
                step=torch.tensor(step, device=self.device),
                progress=torch.tensor(step / total, device=self.device),
            )
            for name, value in self.step(batch, [*values][:-1]).items():
                values.setdefault(name, []).append(value)
        table = torch.stack([torch.stack(steps).double() for steps in values.values()]).cpu()  # (terms, steps)
        if not table.isfinite().all():
            first = int((~table.isfinite()).any(dim=0).nonzero()[0])
            bad = [f"'{name}' is {value}" for name, value in zip(values, table[:, first].tolist(), strict=True)]
            raise Diverged(f"the loss is not finite in step {first + 1} of epoch {epoch + 1}: {', '.join(bad)}")
        sizes = torch.tensor([min(size, n - i * size) for i in range(self.steps_per_epoch)], dtype=torch.float64)
        return dict(zip(values, (table @ sizes / n).tolist(), strict=True))

    def step(self, batch: Batch, known_terms: list[str]) -> dict[str, Tensor]:
        """One optimizer step; returns the detached loss terms and, last, their sum."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            student = self.read_student(batch.images)
            teacher = Outputs("teacher")
            if self.read_teacher is not None:
                with torch.no_grad():
                    teacher = self.read_teacher(batch.images)
        terms = self.method.loss(batch, student, teacher)
        check_terms(self.method.name, terms, known_terms)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {**{name: term.detach() for name, term in terms.items()}, "loss": loss.detach()}

    def predict(self) -> Tensor:
        """Logits (I, C) of the test images."""
        return predict(self.student, self.test_images, Normalize(self.data, self.device), self.recipe.precision)

    def test_top1(self) -> float:
        """Test accuracy in percent: a diagnostic, never shown to the method."""
        return 100 * (self.predict().argmax(1) == self.test_labels).float().mean().item()

    def save(self, path: Path) -> None:
        """Write everything that a bit-equal continuation needs.

        Raises:
            KdbenchError: the disk is full or the folder cannot be written.
        """
        state: dict[str, Any] = {"epochs_done": self.epochs_done, "seconds": self.seconds, "curve": self.curve}
        with writing(path):
            save_tensors(path, self.tensors(), state)

    def tensors(self) -> dict[str, Tensor]:
        """All state that changes while training, by name."""
        found = {f"student.{k}": v for k, v in self.student.state_dict().items()}
        found |= {f"method.{k}": v for k, v in self.method.state_dict().items()}
        for i, parameter in enumerate(self.parameters):
            momentum = self.optimizer.state[parameter].get("momentum_buffer")
            found[f"momentum.{i}"] = torch.zeros_like(parameter) if momentum is None else momentum
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
        for name, module in (("student.", self.student), ("method.", self.method)):
            module.load_state_dict({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
        for i, parameter in enumerate(self.parameters):
            momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{i}"])  # keeps the memory format
            self.optimizer.state[parameter]["momentum_buffer"] = momentum
        torch.set_rng_state(tensors["rng.cpu"])
        self.generator.set_state(tensors["rng.method"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.epochs_done, self.seconds, self.curve = state["epochs_done"], state["seconds"], state["curve"]


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, normalize: Normalize, precision: str) -> Tensor:
    """Logits (I, C) in float32 of uint8 images (I, C, H, W), in evaluation mode."""
    model.eval()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return torch.cat([model(normalize(chunk)).float() for chunk in images.split(1000)])
