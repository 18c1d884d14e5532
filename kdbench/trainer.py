"""Training one network under one method: the loop, its checkpoints and the prediction at its end.

The trainer owns the data. A method sees training batches alone; the test set is read by `predict`, after an epoch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.capture import WARM_UP, CapturedStep, Compiled
from kdbench.checkpoint import load_tensors, save_tensors
from kdbench.contract import check_terms
from kdbench.data import Dataset
from kdbench.errors import KdbenchError, writing
from kdbench.feed import Feed, epoch_feed
from kdbench.inputs import as_seen
from kdbench.large_images import FileDataset, LargeImages
from kdbench.method import Batch, Method, Outputs, Stage
from kdbench.optimizer import build_optimizer, optimizer_tensors
from kdbench.outputs import OutputReader
from kdbench.stream import torch_seed
from kdbench.suite import Data, Execution, Recipe
from kdbench.views import SmallImages

Notice = Callable[[str], None]
Read = Callable[[Tensor], Outputs]
OnEpoch = Callable[[int, int, float | None], None]  # (epochs done, of how many, mean loss of the last one)
MAIN = ""  # name of the main stage
CHECKPOINT_EVERY = 1.0  # seconds at least, at an epoch's end
CHECKPOINT_SHARE = 0.05  # of the time at most


class Diverged(Exception):
    """A loss that is no longer finite."""


class Trainer:
    """One training from its first step to its last, with everything that a checkpoint must hold.

    Args:
        stream: name of the data stream; with `seed` it determines batches and views.
        execution: how steps run: "eager", "captured" (a CUDA graph) or "compiled" (by torch.compile).
        notice: is told, in a line, of a step that cannot run so and runs eagerly instead.
        student: the network to train, with its initial weights.
        method: built for this pair.
        read_student, read_teacher: make the outputs that the method requires.
        generator: the method's own.
    """

    def __init__(
        self,
        data: Data,
        recipe: Recipe,
        dataset: Dataset | FileDataset,
        stream: str,
        seed: int,
        student: nn.Module,
        method: Method,
        read_student: OutputReader,
        read_teacher: OutputReader | None,
        generator: torch.Generator,
        device: torch.device,
        execution: Execution = "eager",
        notice: Notice = print,
    ) -> None:
        self.data, self.recipe, self.stream, self.seed, self.device = data, recipe, stream, seed, device
        self.student, self.method, self.generator = student, method, generator
        self.read_student: Read = read_student
        self.read_teacher: Read | None = read_teacher
        self.labels, self.test_labels = dataset.train_labels.to(device), dataset.test_labels.to(device)
        self.images: SmallImages | LargeImages = (
            SmallImages(data, dataset, device)
            if isinstance(dataset, Dataset)
            else LargeImages(data, dataset, recipe.batch_size, device)
        )
        self.steps_per_epoch = math.ceil(len(self.labels) / recipe.batch_size)
        self.deployed = method.deployed(student, read_student)
        self.stage = Stage(MAIN, recipe.epochs, method.loss)
        self.stages = [*method.stages(), self.stage]
        self.epochs = sum(stage.epochs for stage in self.stages)
        self.parameters = [p for p in (*student.parameters(), *method.parameters()) if p.requires_grad]
        self.rate = torch.tensor(recipe.learning_rate, device=device)
        self.optimizer = build_optimizer(recipe, self.parameters, self.rate)
        self.execution: Execution = execution
        if execution == "captured" and isinstance(self.images, LargeImages):
            self.execution = "eager"
            notice("Large images are decoded outside the step, which cannot be captured and runs eagerly.")
        self.captured: CapturedStep | None = None
        self.notice = notice
        if execution == "compiled":
            self.read_student = Compiled(read_student, notice)
            self.read_teacher = Compiled(read_teacher, notice) if read_teacher else None
        self.epochs_done = 0
        self.seconds = 0.0
        self.curve: dict[str, list[float]] = {}
        self.terms: list[str] = []  # names of the loss terms, and "loss"

    def train(self, checkpoint: Path, on_epoch: OnEpoch = lambda *progress: None) -> None:
        """Train to the last epoch, from the first or from what `restore` read; keep `checkpoint` fresh.

        Raises:
            Diverged: a loss term became infinite or not a number.
            KdbenchError: the disk is full or the folder cannot be written.
        """
        if self.epochs_done == 0:
            torch.manual_seed(torch_seed(self.stream, self.seed, "dropout"))
        on_epoch(self.epochs_done, self.epochs, None)
        saved, pause = time.monotonic(), CHECKPOINT_EVERY
        while self.epochs_done < self.epochs:
            started = time.monotonic()
            terms = self.train_epoch(self.enter_stage(self.epochs_done))
            if self.stage.name == MAIN:
                terms["test_top1"] = self.test_top1()
            for name, value in terms.items():
                self.curve.setdefault(f"{self.stage.name}.{name}".removeprefix("."), []).append(value)
            self.epochs_done += 1
            now = time.monotonic()
            self.seconds += now - started
            if now - saved > pause and self.epochs_done < self.epochs:
                self.save(checkpoint)
                saved = time.monotonic()
                pause = max(CHECKPOINT_EVERY, (saved - now) / CHECKPOINT_SHARE)
            on_epoch(self.epochs_done, self.epochs, terms["loss"])

    def enter_stage(self, epoch: int) -> int:
        """Go to the stage of an epoch of the whole training; returns which of the stage's own epochs it is."""
        for stage in self.stages:
            if epoch < stage.epochs:
                break
            epoch -= stage.epochs
        if stage is not self.stage:
            self.stage, self.terms, self.captured = stage, [], None
        if epoch == 0:
            for value in optimizer_tensors(self.optimizer, self.parameters).values():
                value.zero_()
        return epoch

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training set, in the stage that was entered; the last short batch is kept.

        Returns:
            the mean of each loss term and of their sum, "loss", over the samples.
        """
        self.student.train()
        self.method.train()
        n, size = len(self.labels), self.recipe.batch_size
        terms = self.run_steps(self.feed(epoch)).double().cpu()
        if not terms.isfinite().all():
            first = int((~terms.isfinite()).any(dim=0).nonzero()[0])
            bad = [f"'{name}' is {value}" for name, value in zip(self.terms, terms[:, first].tolist(), strict=True)]
            raise Diverged(f"the loss is not finite in step {first + 1} of epoch {epoch + 1}: {', '.join(bad)}")
        sizes = torch.tensor([min(size, n - i * size) for i in range(self.steps_per_epoch)], dtype=torch.float64)
        return dict(zip(self.terms, (terms @ sizes / n).tolist(), strict=True))

    def feed(self, epoch: int) -> Feed:
        """What the steps of an epoch of the stage read."""
        stage, n = self.stage, len(self.labels)
        rate = stage.learning_rate or self.recipe.learning_rate
        recipe = self.recipe.model_copy(update={"epochs": stage.epochs, "learning_rate": rate})
        stream = f"{self.stream}/{stage.name}".removesuffix("/")
        return epoch_feed(recipe, stream, self.seed, epoch, n, self.data.num_views, self.device)

    def run_steps(self, feed: Feed) -> Tensor:
        """The steps of an epoch, nothing in which waits for the device; returns their loss terms (T, S)."""
        full = len(feed.index) // self.recipe.batch_size
        done: list[Tensor] = []
        if self.execution == "captured" and self.captured is None and full > WARM_UP:
            done = [self.step_at(feed, i)[:, None] for i in range(WARM_UP)]
            self.capture(feed)
        if self.captured is not None:
            done.append(self.captured.run(feed, len(done), full))
        first = sum(terms.shape[1] for terms in done)
        batches = zip(range(first, len(feed.step)), self.images.epoch(feed, first), strict=False)
        done += [self.step_at(feed, i, images)[:, None] for i, images in batches]
        return torch.cat(done, dim=1)

    def capture(self, feed: Feed) -> None:
        """Record the step; a method that cannot be recorded runs eagerly, and is told so."""
        self.optimizer.zero_grad(set_to_none=True)
        try:
            self.captured = CapturedStep(feed, self.step_at, len(self.terms), self.generator)
        except RuntimeError as error:
            self.execution = "eager"
            said = (str(error).splitlines() or [type(error).__name__])[0]
            self.notice(f"The step of '{self.method.name}' cannot be captured and runs eagerly: {said}")

    def step_at(self, feed: Feed, i: int | Tensor, images: Tensor | None = None) -> Tensor:
        """The step on batch i of a feed, at its learning rate."""
        self.rate.copy_(feed.at(feed.rate, i))
        return self.step(self.batch(feed, i, images))

    def batch(self, feed: Feed, i: int | Tensor, images: Tensor | None = None) -> Batch:
        """Batch i of a feed, its images cut on the device where they were not made ahead."""
        index, view = feed.rows(i)
        return Batch(
            images=self.images.cut(index, view) if images is None else images,
            labels=self.labels[index],
            index=index,
            view=view if images is None else None,
            epoch=feed.at(feed.epoch, i),
            step=feed.at(feed.step, i),
            progress=feed.at(feed.progress, i),
        )

    def step(self, batch: Batch) -> Tensor:
        """One optimizer step; returns the detached loss terms (T,), their sum last."""
        batch = self.method.inputs(batch)
        with autocast(self.device, self.recipe.precision):
            student = self.read_student(batch.images)
            teacher = Outputs("teacher")
            if self.read_teacher is not None:
                with torch.no_grad():
                    teacher = self.read_teacher(batch.images)
        terms = self.stage.loss(batch, student, teacher)
        check_terms(self.method.name, terms, self.terms[:-1])
        self.terms = [*terms, "loss"]
        values = torch.stack(list(terms.values()))
        loss = values.sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()
        return torch.cat([values.detach(), loss.detach()[None]])

    def predict(self) -> Tensor:
        """Logits (I, C) of the test images."""
        return predict(self.deployed, self.images.test(), self.device, self.recipe.precision)

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
        for name, module in (("student.", self.student), ("method.", self.method)):
            module.load_state_dict({k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)})
        for name, value in optimizer_tensors(self.optimizer, self.parameters).items():
            value.copy_(tensors[name])  # in place: the memory format stays
        torch.set_rng_state(tensors["rng.cpu"])
        self.generator.set_state(tensors["rng.method"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        self.epochs_done, self.seconds, self.curve = state["epochs_done"], state["seconds"], state["curve"]


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 for what it is safe for, where the recipe says so."""
    # Without the cache of cast weights, which a captured step would hold on to.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


@torch.no_grad()
def predict(model: nn.Module, batches: Iterable[Tensor], device: torch.device, precision: str) -> Tensor:
    """Logits (I, C) in float32 of normalised images in batches (B, C, H, W), in evaluation mode."""
    model.eval()
    with autocast(device, precision):
        seen = (as_seen(model, images).contiguous(memory_format=torch.channels_last) for images in batches)
        return torch.cat([model(images).float() for images in seen])
