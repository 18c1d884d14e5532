"""The plugin contract: what the author of a method needs to read.

A method is one class in one file. It names its paper and its place in the survey's taxonomy, says which outputs of
which network it reads, and returns the terms of its loss:

    class KD(Method):
        name, version = "kd", 1
        paper = Paper("Distilling the Knowledge in a Neural Network", "Hinton, Vinyals, Dean", 2015, arxiv="1503.02531")
        scheme, knowledge = "offline", ("response",)
        requires = {"student.logits", "teacher.logits"}

        class Params(Method.Params):
            temperature: float = Field(4.0, gt=0, description="softens both distributions")

        def loss(self, batch, student, teacher):
            ...
            return {"ce": ..., "kd": ...}

and is registered in its package's pyproject.toml:

    [project]
    name = "my-package"
    version = "0.1"
    dependencies = ["kdbench"]

    [project.entry-points."kdbench.methods"]
    kd = "my_package.kd:KD"

`pip install -e .` there, `kdbench check kd` tests it, and `kdbench run --method kd` finds it.

The trainer owns the data, both networks, the optimizer and the clock. It sums the terms (the cross-entropy with the
labels is one that the method adds itself), differentiates and logs them. A method never sees test data. What it is
given instead, `setup`, `batch` and the outputs of both networks, is in `kdbench/given.py`, attribute by attribute.

A method is an `nn.Module`. Whatever modules, parameters and buffers it registers in `build` are trained with the
student, moved to its device, checkpointed and restored, by construction:

        def build(self, setup):
            self.embed = nn.Linear(setup.student.embedding, 128)
            self.register_buffer("bank", torch.zeros(len(setup.train_labels), 128))
            self.generator = setup.generator

        def loss(self, batch, student, teacher):
            noise = torch.randn(len(batch.labels), 128, generator=self.generator, device=batch.labels.device)
            ...
            with torch.no_grad():
                self.bank[batch.index] = ...

A layer of the student that is registered (`self.classifier = setup.student_network.get_classifier()`) stays the
student's: stepped once, counted once. Anything else that changes (a counter, a tensor or a list of parameters as a
plain attribute) would be lost when a run is interrupted: use a buffer, `nn.ModuleList`, `nn.ParameterList`. A module
without trainable parameters (a copy of the teacher's classifier, say) stays in evaluation mode.

Hooks serve what most methods do not need; each is read in a minute, below:

    stages, main      trainings before the main one (hints, generations, assistants); a main one of another length
    inputs            other images than the batch's, or more: `batch.strong_images`, say
    before_epoch      what happens between epochs (synthesis, a copy of the student as its own teacher)
    deployed          the network that is evaluated as the student, where it is another
    networks          further networks that are evaluated and recorded (peers, heads, an int8 copy)
    synthetic         images that the method made, kept with the record
    momentum_shifts   terms of the loss whose gradients have a momentum of their own

A method that trains further networks (peers, earlier generations, assistants) makes them with `setup.network` and runs
them in `loss`; they are trained with the student. What must not follow the suite's recipe (a generator, a
discriminator) gets an optimizer of its own, `kdbench.Adam`. A data-free method ("data_free" in `families`) is given no
training image, label or index: its batches are empty, and `inputs` fills them.

A method that distils the training set itself, rather than a teacher, is a `DatasetMethod`
(`kdbench/dataset_method.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from kdbench.errors import NotApplicable
from kdbench.given import Batch, Outputs, Read, Setup, Shapes

__all__ = ["Batch", "Field", "Method", "NotApplicable", "Outputs", "Paper", "Read", "Setup", "Shapes", "Stage"]

Scheme = Literal["baseline", "offline", "online", "self"]
Knowledge = Literal["response", "feature", "relation"]


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    title: str
    authors: str
    year: int
    arxiv: str | None = None


Loss = Callable[[Batch, Outputs, Outputs], dict[str, Tensor]]


@dataclass(frozen=True)
class Stage:
    """A part of the training, with the suite's recipe over its own epochs and the optimizer's state anew.

    Attributes:
        name: names its terms in the curves: "hint.mse"; empty for the main stage, whose terms have no prefix.
        epochs: how many; the clock of the batches counts from 0 in each stage.
        loss: as `Method.loss`. Weights that it does not reach stay as they are.
        learning_rate: instead of the recipe's.
        requires: which outputs it reads, if not all that the method does. A network of which it reads none does not
            run, and gives empty outputs.
        cycles: how often the learning rate's schedule runs, each time over an equal part of the epochs.
        rescaled: whether the recipe's milestones are moved to the same parts of the stage's epochs, as those of the
            main stage always are; else a short stage may end before the first. A schedule without them always fits.
    """

    name: str
    epochs: int
    loss: Loss
    learning_rate: float | None = None
    requires: frozenset[str] | None = None
    cycles: int = 1
    rescaled: bool = False


class Method(nn.Module):
    """A distillation method.

    Attributes:
        name: lower case, the same as the name of its entry point.
        version: raise it by one when a change alters results; records of older versions then count as stale.
        paper: None only for a baseline or a control.
        scheme: offline, online or self; "baseline" for what does not distil.
        knowledge: any of response, feature, relation.
        families: further families of the survey: data_free, multi_teacher, adversarial, ...
        requires: which outputs it reads: "student.logits", "student.embedding", "student.features",
            "student.pre_activations", "student.stem", "student.class_maps", "student.head_logits", "student.attention"
            and the same of "teacher"; and what else it wants in `setup`: "student.network", "teacher.network", "team",
            "assistants", "images"; "tasks" and "earlier_images" for lifelong learning; or in the batch:
            "strong_images". A method that names nothing of the teacher trains without one.
        deviations: what it changes of the suite's protocol for itself (extra views, other images), in words; stages
            and a main stage of other length are added to them.
        eager: its steps differ by `Batch.number`, a Python number; they are never captured as a CUDA graph.
        checked_with: parameters for `kdbench check`, where the paper's take minutes or find nothing to do there.
        expected_failed_checks: reasons by the name of a check of `kdbench check` that the method honestly fails.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    paper: ClassVar[Paper | None] = None
    scheme: ClassVar[Scheme]
    knowledge: ClassVar[tuple[Knowledge, ...]] = ()
    families: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[frozenset[str] | set[str]]
    deviations: ClassVar[tuple[str, ...]] = ()
    eager: ClassVar[bool] = False
    checked_with: ClassVar[dict[str, Any]] = {}
    expected_failed_checks: ClassVar[dict[str, str]] = {}

    class Params(BaseModel):
        """Hyperparameters: typed, with the paper's defaults, their ranges and a description each.

        Loss weights are named for what they weigh: `ce_weight`, `kd_weight`, `attention_weight`.
        """

        model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    params: Any  # an instance of this method's own Params

    def __init__(self, params: BaseModel) -> None:
        """Not for methods to change: what a method needs is made in `build`."""
        super().__init__()
        self.params = params

    @classmethod
    def reads_teacher(cls) -> bool:
        """Whether a cell of this method needs a teacher."""
        return any(output.startswith("teacher.") for output in cls.requires)

    @classmethod
    def is_data_free(cls) -> bool:
        """Whether it is given no training image and no label."""
        return "data_free" in cls.families

    @classmethod
    def distils_data(cls) -> bool:
        """Whether it makes a small training set (`kdbench.DatasetMethod`), rather than teach a student."""
        return False

    def build(self, setup: Setup) -> None:
        """Make the method's own modules and buffers. Called once, under the method's own seed.

        Raises:
            NotApplicable: the method cannot serve this pair of networks; the message is the reason.
        """

    def stages(self) -> Sequence[Stage]:
        """Trainings before the main one, in their order: none. Called once, after `build`."""
        return ()

    def main(self, epochs: int) -> Stage:
        """The main stage, whose last epoch is the result: by default `loss` over the suite's epochs. Called once."""
        return Stage("", epochs, self.loss)

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        """What happens before an epoch of a stage (the main one's name is empty), on the host: nothing.

        In a suite with tasks each task is a stage, the last of them the main one.

        Checkpoints are taken between epochs, so all that changes here must be in buffers and modules.
        """

    def inputs(self, batch: Batch) -> Batch:
        """The batch that both networks see: by default the trainer's own.

        A method that changes images returns `dataclasses.replace(batch, images=..., view=None)`, draws from
        `setup.generator`, and may put whatever its `loss` needs into `extra`. Gradients are on: a method with an
        optimizer of its own may train its generator here.
        """
        return batch

    def momentum_shifts(self) -> Mapping[str, float]:
        """Terms of the main loss with a momentum of their own, and what it has more than the suite's: none.

        The suite's SGD then keeps a momentum of each one's gradients alone and takes their steps one after another,
        with a backward pass each. Weight decay, and terms that are not named, are with the first. Called once.
        """
        return {}

    def deployed(self, student: nn.Module, read: Read) -> nn.Module:
        """The network that is evaluated and counted, from images to logits: by default the student.

        Args:
            read: makes the student's outputs of images, those that `requires` names.
        """
        return student

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        """Further networks, from images to logits, by the role under which they are recorded ("peer 1", "ensemble").

        Called once, after the last epoch; of an `OwnNetwork` give its `model`.
        """
        return {}

    def synthetic(self) -> Tensor | None:
        """(N, C, H, W) images that the method made, normalised as the suite's; they are kept with the record."""
        return None

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, but for modules without trainable parameters. Not for methods to change."""
        super().train(mode)
        for module in self.children():
            if not any(parameter.requires_grad for parameter in module.parameters()) and list(module.parameters()):
                module.eval()
        return self

    @abstractmethod
    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """The named terms of the loss, 0-dim float tensors; their sum is minimised.

        Called in training mode under gradients; the teacher's outputs carry none, and neither network's may be changed
        in place. `teacher` is empty for a method that reads none. Return the same terms in every step, and keep
        numbers on the device: no `.item()`, no `float()`, no branch on a tensor's value.
        """
        raise NotImplementedError
