"""Training a student task after task: the images of each, the classes that are open, the network after each."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.feed import Feed
from kdbench.given import Outputs
from kdbench.method import Stage
from kdbench.tasks import EARLIER, Tasks, after_task, task_stages
from kdbench.training.trainer import Trainer

SHUT = -1e4  # a logit that no softmax or sigmoid sees, finite so that no product with it is undefined


class TaskTrainer(Trainer):
    """The training of a student task after task.

    Each task is a stage with the method's main loss, over as many epochs as the recipe has and with the learning rate's
    whole schedule. The head has all classes from the start; those that have not come yet are shut, in training and in
    predictions, so that it is as if it grew. The network after each task is kept, and evaluated with the last one.

    Attributes:
        names: of the stages, a task each.
        rows: (N_t,) the training images of each task, those of earlier ones that are remembered among them.
        kept: the weights and buffers of the network after each task but the last.
    """

    def __init__(self, *, tasks: Tasks, **trainer: Any) -> None:
        self.tasks = tasks
        self.names, labels = task_stages(tasks), trainer["labels"]
        rows = task_rows(labels.cpu(), tasks, EARLIER in trainer["method"].requires)
        self.rows = [one.to(labels.device) for one in rows]
        self.shut = shut_classes(tasks).to(labels.device)
        super().__init__(**trainer)
        *before, main = self.stages
        if before:
            raise TypeError(f"{self.method.name}.stages gives '{before[0].name}': with tasks the main one is all")
        self.stages = [replace(main, name=name) for name in self.names]
        self.kept = [Kept(self.ranked()) for _ in self.names[:-1]]

    def enter(self, stage: Stage) -> None:
        super().enter(stage)
        self.task = self.names.index(stage.name)

    @property
    def own_stages(self) -> list[Stage]:
        return []

    @property
    def samples(self) -> int:
        return len(self.rows[self.task])

    @property
    def steps_done(self) -> int:
        size, epochs = self.recipe.batch_size, self.epochs_done
        found = 0
        for stage, rows in zip(self.stages, self.rows, strict=True):
            found += min(epochs, stage.epochs) * -(-len(rows) // size)
            epochs -= min(epochs, stage.epochs)
        return found

    def next_epoch(self) -> dict[str, float]:
        terms = super().next_epoch()
        if self.task < len(self.kept) and self.epochs_done == sum(s.epochs for s in self.stages[: self.task + 1]):
            self.kept[self.task].take(self.ranked())
        return terms

    def feed(self, epoch: int) -> Feed:
        feed = super().feed(epoch)
        return replace(feed, index=self.rows[self.task][feed.index])

    def outputs(self, images: Tensor, index: Tensor | None = None) -> tuple[Outputs, Outputs]:
        student, teacher = super().outputs(images, index)
        known = student._values
        if "logits" in known:
            known = known | {"logits": known["logits"].masked_fill(self.shut[self.task], SHUT)}
        return Outputs("student", **known), teacher

    def modules(self) -> dict[str, nn.Module]:
        return super().modules() | {f"kept {n}": kept for n, kept in enumerate(self.kept)}

    def earlier_networks(self) -> dict[str, nn.Module]:
        return {after_task(t): Open(kept.give(self.ranked()), self.shut[t]) for t, kept in enumerate(self.kept)}


class Kept(nn.Module):
    """The weights and buffers of a network at one time, for a checkpoint."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name, value in network.state_dict().items():
            self.register_buffer(name.replace(".", "/"), value.clone())

    def take(self, network: nn.Module) -> None:
        """Those that the network has now."""
        self.load_state_dict({name.replace(".", "/"): value for name, value in network.state_dict().items()})

    def give(self, like: nn.Module) -> nn.Module:
        """A copy of a network that has them."""
        network = copy.deepcopy(like).requires_grad_(False)
        network.load_state_dict({name.replace("/", "."): value for name, value in self.state_dict().items()})
        return network


class Open(nn.Module):
    """A network as it was after a task, of whose classes those that had not come yet are shut.

    Args:
        shut: (C,) which they are.
    """

    shut: Tensor

    def __init__(self, network: nn.Module, shut: Tensor) -> None:
        super().__init__()
        self.network = network
        self.own_input = getattr(network, "own_input", None)
        self.register_buffer("shut", shut.clone())

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, C)."""
        return self.network(images).masked_fill(self.shut, SHUT)


def task_rows(labels: Tensor, tasks: Tasks, all_earlier: bool) -> list[Tensor]:
    """The training images of each task, in canonical order, from their (N,) labels, on the CPU.

    Args:
        all_earlier: those of earlier classes are all among them, not just those that the suite has a memory for.
    """
    which = torch.zeros(tasks.num_classes, dtype=torch.long)  # the task of a class
    for t, classes in enumerate(tasks.classes):
        which[list(classes)] = t
    one_hot = torch.nn.functional.one_hot(labels, tasks.num_classes)
    place = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1) - 1  # of each image within its class
    remembered = torch.ones_like(labels, dtype=torch.bool) if all_earlier else place < tasks.memory
    of = which[labels]
    return [((of == t) | ((of < t) & remembered)).nonzero()[:, 0] for t in range(len(tasks.classes))]


def shut_classes(tasks: Tasks) -> Tensor:
    """(T, C) which classes have not come by the end of each task."""
    shut = torch.ones(len(tasks.classes), tasks.num_classes, dtype=torch.bool)
    for t in range(len(tasks.classes)):
        shut[t, tasks.seen(t)] = False
    return shut
