"""Checks of what a method declares catch the methods that they are for."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Paper
from tests.kdbench.checks.good import Good, assert_caught, each


class UnboundedWeight(Good):
    """Takes a negative weight."""

    class Params(Method.Params):
        gap_weight: float = Field(1.0, description="weight of the gap")


class UndescribedWeight(Good):
    """Says nothing of its weight."""

    class Params(Method.Params):
        gap_weight: float = Field(1.0, ge=0)


class LenientParams(Good):
    """Takes any parameter."""

    class Params(Method.Params):
        model_config = {"extra": "ignore"}
        gap_weight: float = Field(1.0, ge=0, description="weight of the gap")


class Undocumented(Good):
    pass


class PaperWithoutYear(Good):
    """Has an unlikely paper."""

    paper = Paper("A title", "An Author", 20)


class SilentlyMixes(Good):
    """Changes the images without a word."""

    def inputs(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, images=batch.images.flip(3), view=None)


class SecondStudent(Good):
    """Gives a further network the student's role."""

    def networks(self, student: nn.Module, read: Any) -> dict[str, nn.Module]:
        return {"student": student}


class EmbedsForLogits(Good):
    """Gives a network that is no classifier."""

    def networks(self, student: nn.Module, read: Any) -> dict[str, nn.Module]:
        return {"peer 1": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}


class FlatImages(Good):
    """Keeps images without their shape."""

    def synthetic(self) -> Tensor:
        return torch.zeros(4, 64)


class EmptyTitle(Good):
    """Has a paper whose title only looks like one."""

    paper = Paper("\u200b ", "An Author", 2024)


class NobodysPaper(Good):
    """Has a paper by nobody."""

    paper = Paper("A title", " - ", 2024)


class OverridesTrain(Good):
    """Decides itself when it trains."""

    def train(self, mode: bool = True) -> OverridesTrain:
        return self


class OverridesStateDict(Good):
    """Keeps something from its checkpoints."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {}


BROKEN = [
    (EmptyTitle, "says_what_it_is", "the paper has no title"),
    (NobodysPaper, "says_what_it_is", "the paper has no authors"),
    (OverridesTrain, "says_what_it_is", "it changes train, which is the trainer's"),
    (OverridesStateDict, "says_what_it_is", "it changes state_dict, which is the trainer's"),
    (SecondStudent, "evaluates_its_networks", "use another name than student"),
    (EmbedsForLogits, "evaluates_its_networks", "give a module from images to logits"),
    (FlatImages, "evaluates_its_networks", "(N, C, H, W) images"),
    (UnboundedWeight, "rejects_bad_params", "ge=0"),
    (UndescribedWeight, "describes_its_params", "has no description"),
    (LenientParams, "rejects_bad_params", "do not replace model_config"),
    (Undocumented, "says_what_it_is", "no docstring"),
    (PaperWithoutYear, "says_what_it_is", "year is 20"),
    (SilentlyMixes, "declares_changed_images", "name it in `deviations`"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
