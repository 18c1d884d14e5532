"""One step of a training: what it is given, what the networks say of it, the loss, and the update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kdbench.data.contract import Inputs
from kdbench.data.feed import Feed
from kdbench.data.strong import StrongViews
from kdbench.given import Batch, Outputs, Read
from kdbench.method import Method, Stage
from kdbench.networks.outputs import OutputReader
from kdbench.tables import Recipe
from kdbench.training.capture import Compiled
from kdbench.training.contract import check_terms
from kdbench.training.guard import UNWATCHED, Guard, StepWatch, Unwatched
from kdbench.training.optimizer import clip, differentiate
from kdbench.training.prediction import autocast
from kdbench.training.spending import Spending
from kdbench.training.stored_outputs import StoredOutputs

MAIN = ""  # name of the main stage


class Stepping:
    """The steps of a training in the stage that was entered; attributes are the trainer's."""

    recipe: Recipe
    device: torch.device
    images: Inputs
    labels: Tensor
    method: Method
    stage: Stage
    terms: list[str]
    task: int
    watched: int
    guard: Guard
    readers: Mapping[str, OutputReader]
    read_student: Read
    read_teacher: Read | None
    stored: StoredOutputs | None
    strong: StrongViews | None
    parameters: Sequence[nn.Parameter]
    rate: Tensor
    shifts: Mapping[str, float]
    optimizer: torch.optim.Optimizer
    spending: Spending

    @property
    def samples(self) -> int:
        """Images in an epoch of the stage that was entered."""
        return len(self.labels)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch of that stage."""
        return math.ceil(self.samples / self.recipe.batch_size)

    def step_at(self, feed: Feed, i: int | Tensor, images: Tensor | None = None, counted: bool = False) -> Tensor:
        """The step on batch i of a feed, at its learning rate."""
        self.rate.copy_(feed.at(feed.rate, i))
        batch = self.batch(feed, i, images)
        watch = StepWatch(self.guard, batch) if isinstance(i, int) and i == self.watched else UNWATCHED
        if not counted:
            return self.step(batch, watch)
        # Of an epoch's images to the step's; without data no batch is a short one.
        share = self.steps_per_epoch if self.method.is_data_free() else self.samples / len(feed.rows(i)[0])
        with self.spending.counting(self.readers, self.stage.epochs * share):
            return self.step(batch, watch)

    def batch(self, feed: Feed, i: int | Tensor, images: Tensor | None = None) -> Batch:
        """Batch i of a feed, its images cut on the device where they were not made ahead; empty without data."""
        index, view = feed.rows(i)
        if self.method.is_data_free():
            index, view = index[:0], view[:0]
        return Batch(
            images=self.images.cut(index, view) if images is None else images,
            labels=self.labels[index],
            index=index,
            view=view if images is None else None,
            epoch=feed.at(feed.epoch, i),
            step=feed.at(feed.step, i),
            progress=feed.at(feed.progress, i),
            number=i if self.method.eager and isinstance(i, int) else None,
            task=self.task,
            strong_images=None if self.strong is None else self.strong(index, *feed.strong_rows(i)),
        )

    def step(self, batch: Batch, watch: StepWatch | Unwatched = UNWATCHED) -> Tensor:
        """One optimizer step; returns the detached loss terms (T,), their sum last."""
        batch = self.method.inputs(batch)
        watch.after_inputs(batch, self.method.is_data_free())
        self.spending.note(len(batch.images))
        student, teacher = self.outputs(batch.images, batch.index)
        watch.look()
        terms = self.stage.loss(batch, student, teacher)
        watch.after("loss")
        check_terms(self.method.name, terms, self.terms[:-1], self.shifts if self.stage.name == MAIN else ())
        self.terms = [*terms, "loss"]
        values = torch.stack(list(terms.values()))
        loss = values.sum()
        differentiate(self.optimizer, terms, loss)
        if self.recipe.clip_norm is not None:
            clip(self.optimizer, self.parameters, self.recipe.clip_norm)
        watch.before_update(self.recipe, self.optimizer, self.rate, self.shifts)
        self.optimizer.step()
        watch.after_update()
        return torch.cat([values.detach(), loss.detach()[None]])

    def outputs(self, images: Tensor, index: Tensor | None = None) -> tuple[Outputs, Outputs]:
        """What the stage reads of student and teacher.

        Args:
            index: of the samples, where the images are theirs in this epoch.
        """
        student, teacher = Outputs("student"), Outputs("teacher")
        with autocast(self.device, self.recipe.precision):
            if self.reads("student"):
                student = self.counted(self.read_student)(images)
            if self.read_teacher is not None and self.reads("teacher"):
                if self.stored is not None and index is not None:
                    teacher = self.stored(index)
                else:
                    with torch.no_grad():
                        teacher = self.counted(self.read_teacher)(images)
        return student, teacher

    def reads(self, role: str) -> bool:
        """Whether the stage reads outputs of a network."""
        outputs = self.stage.requires
        return outputs is None or any(output.startswith(f"{role}.") for output in outputs)

    def counted(self, read: Read) -> Read:
        """A network as it is, not compiled, while its operations are counted."""
        return read.read if self.spending.is_counting and isinstance(read, Compiled) else read
