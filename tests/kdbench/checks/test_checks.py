"""Each conformance check catches the method that it is for, with advice, and passes the methods that ship."""

from __future__ import annotations

import copy
import dataclasses
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Setup, Stage
from kdbench.checks import NAMES, Result, check_method, run_check
from kdbench.checks.bench import CheckFailed
from kdbench.commands.check import summary
from kdbench.errors import KdbenchError
from kdbench.plugins import list_plugins
from kdbench.testing import parametrize_with_checks

BUILT_IN = sorted(name for name, [plugin, *_] in list_plugins().items() if plugin.distribution == "kdbench")


@parametrize_with_checks(BUILT_IN)
def test_every_method_that_ships_passes(method: type[Method], check: Callable[[type[Method]], None]) -> None:
    check(method)


class Good(Method):
    """The student's logits and embedding approach the teacher's."""

    name, version = "good", 1
    paper = Paper("A title", "An Author", 2024, "2401.12345")
    scheme, knowledge = "offline", ("response", "feature")
    requires = frozenset({"student.logits", "teacher.logits", "student.embedding", "teacher.embedding"})

    class Params(Method.Params):
        gap_weight: float = Field(1.0, ge=0, description="weight of the gap")

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator
        self.embed = nn.Linear(setup.student.embedding, setup.teacher.embedding)
        self.register_buffer("mean", torch.zeros(setup.num_classes))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(self.embed(student.embedding), teacher.embedding)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "kl": F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="batchmean"),
            "gap": self.params.gap_weight * gap,
        }

    def with_term(self, value: Any, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {**Good.loss(self, batch, student, teacher), "more": value}


class ForgottenParameter(Good):
    """Brings a layer that the loss never uses."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.unused = nn.Linear(3, 3)


class DetachedParameter(Good):
    """Its embedding is used without gradients."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(self.embed(student.embedding).detach() + student.embedding.mean(), teacher.embedding)
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": self.params.gap_weight * gap}


class HiddenParameters(Good):
    """Keeps its layers in a plain list."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.layers = [nn.Linear(3, 3)]


class TrainsTheTeacher(Good):
    """Fine-tunes the teacher that it was given."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.teacher = setup.teacher_network.requires_grad_(True)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.teacher(batch.images).square().mean(), batch, student, teacher)


class GradientIntoTheTeacher(Good):
    """Differentiates through the teacher's weights, out of sight of the module tree."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        network = setup.teacher_network.requires_grad_(True)
        self.run_teacher = lambda images: network(images)  # noqa: PLW0108

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(student.logits, self.run_teacher(batch.images))
        return self.with_term(gap, batch, student, teacher)


class MovesTheTeachersBuffers(Good):
    """Runs the teacher in training mode, which moves its batch statistics."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        network = setup.teacher_network
        self.run_teacher = lambda images: network.train()(images)  # noqa: PLW0108

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        with torch.no_grad():
            logits = self.run_teacher(batch.images)
        return self.with_term(F.mse_loss(student.logits, logits), batch, student, teacher)


class UnseededDraw(Good):
    """Adds noise from PyTorch's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        noise = torch.randn_like(student.logits)
        return self.with_term((student.logits * noise).mean(), batch, student, teacher)


class NumpyDraw(Good):
    """Chooses with numpy's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        scale = 1 + np.random.rand()
        return self.with_term(scale * student.logits.square().mean(), batch, student, teacher)


class PythonDraw(Good):
    """Chooses with Python's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term((1 + random.random()) * student.logits.square().mean(), batch, student, teacher)


class ReadsTheClock(Good):
    """Weighs a term by the time of day."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = 1 + time.perf_counter() % 1
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class PeeksAtTheTestSet(Good):
    """Looks for the trainer's test images up the stack."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        import sys

        frame = sys._getframe()
        while frame and "dataset" not in frame.f_locals:
            frame = frame.f_back  # type: ignore[assignment]
        images = frame.f_locals["dataset"].test_images
        self.register_buffer("peeked", images.float().mean())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.peeked * student.logits.mean(), batch, student, teacher)


class LoadsTheDataItself(Good):
    """Reads the data set from its file."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("peeked", torch.tensor(load_digits().target[:7]))


class SumsOverTheBatch(Good):
    """Sums where it should average."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits - teacher.logits).square().sum()
        return self.with_term(gap, batch, student, teacher)


class AveragesTwice(Good):
    """Divides by the batch's size twice."""

    knowledge = ("response",)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits - teacher.logits).square().mean() / len(batch.labels)
        return self.with_term(gap, batch, student, teacher)


class WrongReduction(Good):
    """Averages a divergence over the classes as well."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="mean")
        return self.with_term(gap, batch, student, teacher)


class Unreduced(Good):
    """Returns a value for each image."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.mean(dim=1), batch, student, teacher)


class FloatInTheLoss(Good):
    """Returns a number instead of a tensor."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(0.5, batch, student, teacher)


class WeighsByAFloat(Good):
    """Reads the loss's value on the host."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = float(teacher.logits.std())
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class BooleanMask(Good):
    """Picks the images that the teacher gets right."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        right = teacher.logits.argmax(1) == batch.labels
        return self.with_term(student.logits[right].sum() / len(batch.labels), batch, student, teacher)


class FrozenEpochWeight(Good):
    """Warms up by an epoch that it reads as a number."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = min(1.0, (int(batch.epoch) + 1) / 20)
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class CountsSteps(Good):
    """Warms up by a counter of its own."""

    count = 0

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.count += 1
        return self.with_term(self.count * student.logits.square().mean(), batch, student, teacher)


class ReplacesABuffer(Good):
    """Assigns its running mean instead of changing it."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.mean = 0.9 * self.mean + 0.1 * teacher.logits.mean(dim=0)
        return self.with_term((student.logits - self.mean).square().mean(), batch, student, teacher)


class ForgetsItsState(Good):
    """Keeps a running mean where no checkpoint finds it."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("mean", torch.zeros(setup.num_classes), persistent=False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.mean.mul_(0.9).add_(0.1 * teacher.logits.mean(dim=0))
        return self.with_term((student.logits - self.mean).square().mean(), batch, student, teacher)


class RequiresTooLittle(Good):
    """Reads an output that it does not name."""

    requires = Good.requires - {"teacher.logits"}


class BuildsFromATeacherItDoesNotRead(Good):
    """Makes a layer as wide as the teacher's embedding, and names no output of the teacher."""

    requires = frozenset({"student.logits", "student.embedding"})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": self.embed(student.embedding).mean()}


class RequiresTooMuch(Good):
    """Names an output that it does not read."""

    requires = Good.requires | {"teacher.features", "student.features"}


class ChangesLogitsInPlace(Good):
    """Divides the teacher's logits in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        teacher.logits.div_(4)
        return super().loss(batch, student, teacher)


class ChangesLabelsInPlace(Good):
    """Rolls the labels in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        batch.labels.copy_(batch.labels.roll(1))
        return super().loss(batch, student, teacher)


class NanForOneImage(Good):
    """Standardises over the batch."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        spread = student.logits / student.logits.std(dim=0)
        return self.with_term(spread.square().mean(), batch, student, teacher)


class BatchNormOverOne(Good):
    """Normalises embeddings over the batch."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.norm = nn.BatchNorm1d(setup.student.embedding)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.norm(student.embedding).square().mean(), batch, student, teacher)


class InfiniteGradient(Good):
    """Takes the norm of a difference that may be zero."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        zero = student.logits - student.logits
        return self.with_term(zero.square().sum(dim=1).sqrt().mean(), batch, student, teacher)


class MagnifiesRounding(Good):
    """Turns the last digits of its logits into a loss."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term((1000 * student.logits).sin().sum(dim=1).mean(), batch, student, teacher)


class DetachedTerm(Good):
    """Has a term without a gradient."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.detach().square().mean(), batch, student, teacher)


class ChangesItsTerms(Good):
    """Adds a term after the first step."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        terms = super().loss(batch, student, teacher)
        return terms if len(batch.labels) == 16 else {**terms, "late": student.logits.mean()}


class UnusedWeight(Good):
    """Forgets its weight."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {
            "gap": F.mse_loss(self.embed(student.embedding), teacher.embedding)
            + student.logits.mean()
            + teacher.logits.mean()
        }


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


class AppliesNowhere(Good):
    """Serves no pair."""

    def build(self, setup: Setup) -> None:
        raise NotApplicable("these networks are too small")


class PeeksAtImages(Good):
    """Calls itself data-free and asks for training images."""

    families = ("data_free",)
    deviations = ("images are synthetic",)
    requires = frozenset({"student.logits", "teacher.logits", "images"})

    def build(self, setup: Setup) -> None:
        self.images = setup.images

    def inputs(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, images=self.images(torch.arange(8), torch.zeros(8, dtype=torch.int64)))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"gap": self.params.gap_weight * F.mse_loss(student.logits, teacher.logits)}


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


BROKEN = [
    (PeeksAtImages, "sees_no_data_if_it_is_free_of_them", "has its images from itself alone"),
    (PeeksAtImages, "says_what_it_is", "data-free and requires 'images'"),
    (SecondStudent, "evaluates_its_networks", "use another name than student"),
    (EmbedsForLogits, "evaluates_its_networks", "give a module from images to logits"),
    (FlatImages, "evaluates_its_networks", "(N, C, H, W) images"),
    (ForgottenParameter, "trains_every_parameter", "'unused.weight' never gets a gradient: use it in loss"),
    (DetachedParameter, "trains_every_parameter", "'embed.weight' never gets a gradient"),
    (HiddenParameters, "returns_terms", "use nn.ModuleList"),
    (TrainsTheTeacher, "leaves_the_teacher_alone", "keep copy.deepcopy"),
    (GradientIntoTheTeacher, "leaves_the_teacher_alone", "run whatever uses them under torch.no_grad"),
    (MovesTheTeachersBuffers, "leaves_the_teacher_alone", "use eval"),
    (UnseededDraw, "draws_from_its_generator", "generator=setup.generator"),
    (NumpyDraw, "draws_from_its_generator", "numpy's global generator"),
    (PythonDraw, "draws_from_its_generator", "Python's global generator"),
    (ReadsTheClock, "repeats_itself", "read from a clock"),
    (PeeksAtTheTestSet, "sees_no_test_data", "must not reach for it"),
    (LoadsTheDataItself, "sees_no_test_data", "digits.csv.gz: a method has its data from the batch"),
    (SumsOverTheBatch, "averages_over_the_batch", "average over the batch, do not sum"),
    (AveragesTwice, "averages_over_the_batch", "divided by the batch's size twice"),
    (WrongReduction, "returns_terms", "reduction: 'mean'"),
    (Unreduced, "returns_terms", "reduce it over the batch"),
    (FloatInTheLoss, "returns_terms", "keep it a tensor"),
    (WeighsByAFloat, "never_waits_for_the_device", "keep the value a tensor"),
    (BooleanMask, "never_waits_for_the_device", "torch.where"),
    (FrozenEpochWeight, "never_waits_for_the_device", "batch.epoch and batch.progress are"),
    (CountsSteps, "keeps_state_in_buffers", "'count' changes while training"),
    (ReplacesABuffer, "keeps_state_in_buffers", "change it in place"),
    (ForgetsItsState, "goes_on_where_it_stopped", "register_buffer"),
    (RequiresTooLittle, "reads_what_it_requires", "add 'teacher.logits' to `requires`"),
    (BuildsFromATeacherItDoesNotRead, "reads_what_it_requires", "add 'teacher.embedding' to `requires`"),
    (RequiresTooMuch, "reads_what_it_requires", "'student.features', which is never read: remove it"),
    (ChangesLogitsInPlace, "leaves_its_inputs_alone", "teacher.logits is changed in place"),
    (ChangesLabelsInPlace, "leaves_its_inputs_alone", "batch.labels is changed in place"),
    (NanForOneImage, "takes_any_batch", "with 1 image in a batch"),
    (BatchNormOverOne, "takes_any_batch", "more than 1 value per channel"),
    (InfiniteGradient, "gives_finite_gradients", "add an epsilon"),
    (MagnifiesRounding, "survives_half_precision", "small differences of large numbers"),
    (DetachedTerm, "gives_finite_gradients", "'more' has no gradient"),
    (ChangesItsTerms, "returns_terms", "return the same ones in every step"),
    (UnusedWeight, "uses_every_weight", "multiply the term with self.params.gap_weight"),
    (UnboundedWeight, "rejects_bad_params", "ge=0"),
    (UndescribedWeight, "describes_its_params", "has no description"),
    (LenientParams, "rejects_bad_params", "do not replace model_config"),
    (Undocumented, "says_what_it_is", "no docstring"),
    (PaperWithoutYear, "says_what_it_is", "year is 20"),
    (SilentlyMixes, "declares_changed_images", "name it in `deviations`"),
    (AppliesNowhere, "returns_terms", "applies to neither pair"),
]


@pytest.mark.parametrize(("cls", "check", "advice"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    with pytest.raises(CheckFailed) as failure:
        run_check(cls, check)
    assert advice in str(failure.value)
    assert "\n" not in str(failure.value)


def test_each_check_has_a_method_that_it_catches() -> None:
    assert {check for _, check, _ in BROKEN} == set(NAMES)


def test_the_unbroken_method_passes_all() -> None:
    assert [result for result in check_method(Good) if result.outcome != "passed"] == []


class Staged(Good):
    """Trains its embedding before the student."""

    def stages(self) -> list[Stage]:
        return [Stage("init", 2, self.embed_loss)]

    def embed_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"gap": F.mse_loss(self.embed(student.embedding.detach()), teacher.embedding)}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        embed = copy.copy(student.embedding) @ self.embed.weight.T.detach()
        gap = self.params.gap_weight * F.mse_loss(embed, teacher.embedding)
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": gap + 0 * teacher.logits.mean()}


def test_a_parameter_may_learn_in_an_earlier_stage_alone() -> None:
    run_check(Staged, "trains_every_parameter")
    run_check(Staged, "goes_on_where_it_stopped")


def test_an_expected_failure_is_known_and_its_absence_is_not_fine() -> None:
    results = {r.check: r for r in check_method(BooleanMask, {"never_waits_for_the_device": "a mask is natural here"})}
    assert results["never_waits_for_the_device"].outcome == "expected"
    assert results["never_waits_for_the_device"].is_fine
    stale = {r.check: r for r in check_method(Good, {"repeats_itself": "it did not once"})}
    assert not stale["repeats_itself"].is_fine
    with pytest.raises(KdbenchError, match="Did you mean 'repeats_itself'"):
        list(check_method(Good, {"repeat_itself": "?"}))


def test_the_summary_counts_excused_checks_apart() -> None:
    passed, excused, failed = Result("a", "passed"), Result("b", "expected", "why"), Result("c", "failed", "mend it")
    assert summary([passed, passed]) == "all 2 checks passed"
    assert summary([passed, excused]) == "1 of 2 checks passed, 1 known to fail (b)"
    assert summary([passed, excused, failed]) == "1 of 3 checks failed, 1 known to fail (b)"


def test_checks_leave_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    run_check(Good, "repeats_itself")
    assert torch.equal(torch.get_rng_state(), before)
