"""Checks of methods that distil data: each has a method that it catches. What ships is in `test_checks`."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench import DatasetMethod, KdbenchError, Setup
from kdbench.checks import NAMES, NAMES_OF_DATA, check_method, checks_of, run_check
from kdbench.checks.bench import CheckFailed
from kdbench.checks.declaration import describes_its_params
from kdbench.plugins import load_method, problems


class Noise(DatasetMethod):
    """Students learn from noise.

    S = uniform noise
    """

    name, version = "noise", 1
    scheme = "baseline"
    requires = frozenset({"images"})
    made: Tensor

    def build(self, setup: Setup) -> None:
        self.setup, self.generator = setup, setup.generator
        shape = (setup.num_classes * setup.images_per_class, *setup.image_shape)
        self.register_buffer("made", torch.rand(shape, generator=setup.generator))

    def iterations(self) -> int:
        return 3

    def improve(self, iteration: int) -> Tensor:
        self.made += torch.rand(self.made.shape, generator=self.generator)
        return self.made.mean()

    def synthetic(self) -> Tensor:
        return self.made


class TooFew(Noise):
    """One image is lacking."""

    def synthetic(self) -> Tensor:
        return self.made[1:]


class Endless(Noise):
    """It divides by nothing."""

    def improve(self, iteration: int) -> Tensor:
        self.made /= 0
        return torch.zeros(())


class Relabels(Noise):
    """It changes what it is given."""

    def improve(self, iteration: int) -> Tensor:
        self.setup.train_labels.zero_()
        return torch.zeros(())


class Elsewhere(Noise):
    """It draws from another generator."""

    def improve(self, iteration: int) -> Tensor:
        self.made += random.random()
        return self.made.mean()


class Counts(Noise):
    """It counts where no checkpoint sees it."""

    count = 0

    def improve(self, iteration: int) -> Tensor:
        self.count += 1
        self.made += self.count
        return self.made.mean()


BROKEN = [
    (TooFew, "makes_its_images", "of shape (6, 1, 8, 8)"),
    (Endless, "makes_its_images", "not finite"),
    (Relabels, "leaves_training_images_alone", "clone them"),
    (Elsewhere, "distils_the_same_again", "differ"),
    (Counts, "goes_on_with_its_images", "register_buffer"),
]


def test_an_honest_method_passes() -> None:
    assert [result for result in check_method(Noise) if result.outcome != "passed"] == []


@pytest.mark.parametrize(("cls", "check", "advice"), BROKEN)
def test_a_broken_method_is_caught(cls: type[DatasetMethod], check: str, advice: str) -> None:
    with pytest.raises(CheckFailed) as failure:
        run_check(cls, check)
    assert advice in str(failure.value)


def test_each_check_of_images_has_a_method_that_it_catches() -> None:
    assert {check for _, check, _ in BROKEN} == NAMES_OF_DATA.keys() - NAMES.keys()


def test_methods_are_held_to_the_checks_of_their_kind() -> None:
    assert checks_of(Noise) is NAMES_OF_DATA
    assert checks_of(load_method("kd")) is NAMES
    assert describes_its_params in NAMES_OF_DATA.values()
    with pytest.raises(KdbenchError, match="No check 'returns_terms'"):
        run_check(Noise, "returns_terms")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": lambda self, batch, student, teacher: {}}, "it changes loss, which is the trainer's"),
        ({"deployed": lambda self, student, read: student}, "it changes deployed, which is the trainer's"),
        ({"families": ()}, "of the family 'dataset_distillation'"),
        ({"synthetic": DatasetMethod.synthetic}, "it makes no images"),
        ({"distils_data": classmethod(lambda cls: False)}, "it changes distils_data"),
    ],
)
def test_a_method_that_trains_its_students_itself_is_no_plugin(changes: dict[str, Any], said: str) -> None:
    assert any(said in problem for problem in problems(type("Changed", (Noise,), changes), "noise"))
