"""Training one network under one method: its stages and their epochs.

The trainer owns the data. A method sees training batches alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from kdbench.console import Notice
from kdbench.data.contract import Inputs
from kdbench.data.feed import Feed, epoch_feed
from kdbench.data.stream import torch_seed
from kdbench.data.strong import DRAWS, StrongViews
from kdbench.given import Read
from kdbench.method import Method, Stage
from kdbench.networks.outputs import OutputReader
from kdbench.networks.own import Adam, OwnNetwork
from kdbench.tables import Execution, Recipe
from kdbench.training.capture import WARM_UP, CapturedStep, Compiled, captures, naming, side_stream
from kdbench.training.contract import check_shifts, check_stages
from kdbench.training.evaluation import Evaluating
from kdbench.training.guard import Guard, one_of, shapes_of
from kdbench.training.limit import TimeLimit
from kdbench.training.optimizer import build_optimizer, optimizer_tensors
from kdbench.training.resumable import Resumable
from kdbench.training.rhythm import Rhythm
from kdbench.training.spending import Spending
from kdbench.training.step import MAIN
from kdbench.training.stored_outputs import StoredOutputs

OnEpoch = Callable[[int, int, float | None], None]  # (epochs done, of how many, mean loss of the last one)


class Diverged(Exception):
    """A loss that is no longer finite."""


class Trainer(Evaluating, Resumable):
    """One training from its first step to its last.

    Attributes:
        stages: all of them, the main one last; `stage` is the one that was entered.
        terms: names of the stage's loss terms, and "loss", once a step was taken.
        captures: whether steps are recorded, where a stage has enough of them.
        captured: the stage's step, once it was recorded.
        guard: what the method changed of the protocol.
        is_suites: whether what is deployed are weights of the suite's student.
        shifts: of momentum, by term of the main loss.
        watches: whether a step of an epoch is watched; `watched` says which, -1 for none.
        task: of a training in tasks, the number of the one that was entered.

    Args:
        images: of the training and test set; `labels`, `test_labels` are theirs.
        stream: name of the data stream; with `seed` it determines batches and views.
        num_views: how many views an image has.
        student: the network to train, with its initial weights.
        twin: makes, once, the suite's student as no method has seen it; it takes the weights that are deployed, and is
            evaluated. None where a network is trained for itself.
        guard: of the student, since before the method was built.
        method: built for this pair.
        readers: make the outputs that the method requires: of the "student", of the "teacher" if it reads one, and of
            further teachers.
        generator: the method's own.
        execution: how steps run: "eager", "captured" (a CUDA graph) or "compiled" (networks by torch.compile, and on a
            GPU a CUDA graph of them).
        notice: is told, in a line, of steps that never run so.
        stored: the teacher's outputs, where they need no teacher in the step.
        strong: makes strong views of the training images, if the method reads them.
    """

    stage: Stage
    terms: list[str]
    captured: CapturedStep | None
    watched, watches = -1, True
    task = 0

    def __init__(
        self,
        *,
        recipe: Recipe,
        images: Inputs,
        labels: Tensor,
        test_labels: Tensor,
        stream: str,
        seed: int,
        num_views: int,
        student: nn.Module,
        twin: Callable[[], nn.Module] | None,
        guard: Guard,
        method: Method,
        readers: Mapping[str, OutputReader],
        generator: torch.Generator,
        device: torch.device,
        execution: Execution = "eager",
        notice: Notice = print,
        stored: StoredOutputs | None = None,
        strong: StrongViews | None = None,
    ) -> None:
        self.recipe, self.stream, self.seed, self.device, self.num_views = recipe, stream, seed, device, num_views
        self.student, self.method, self.generator = student, method, generator
        self.images, self.labels, self.test_labels = images, labels, test_labels
        own = {name: module.read for name, module in method.named_modules() if isinstance(module, OwnNetwork)}
        self.readers = {**readers, **own}
        self.read_student: Read = readers["student"]
        self.read_teacher: Read | None = readers.get("teacher")
        self.stored, self.strong = stored, strong
        self.twin, self.guard = twin, guard
        with self.watching("deployed"):
            self.deployed = method.deployed(student, readers["student"])
        self.is_suites = shapes_of(self.deployed) == guard.shapes
        with self.watching("main"), self.watching("stages"):
            main = method.main(recipe.epochs)
            self.stages = [*method.stages(), main]
        check_stages(method.name, self.stages)
        self.enter(main)
        own_steps = [p for module in method.modules() if isinstance(module, Adam) for p in module.targets]
        guard.before_steps(own_steps, self.deployed)
        elsewhere = {id(p) for p in own_steps}
        distinct = dict.fromkeys((*student.parameters(), *method.parameters()))  # it may hold a layer of the student
        self.parameters = [p for p in distinct if p.requires_grad and id(p) not in elsewhere]
        self.rate = torch.tensor(recipe.learning_rate, device=device)
        with self.watching("momentum_shifts"):
            self.shifts = dict(method.momentum_shifts())
        check_shifts(self.shifts, recipe)
        guard.declare_momenta({term: recipe.momentum + shift for term, shift in self.shifts.items()})
        self.optimizer = build_optimizer(recipe, self.parameters, self.rate, self.shifts)
        self.execution: Execution = execution
        self.captures = captures(execution, device)
        if self.captures and (why := self.never_captured()):
            self.captures, how = False, ""
            if execution == "captured":
                self.execution, how = "eager", " and run eagerly"
            notice(f"{why}, so steps are not captured{how}.")
        self.notice = notice
        if execution == "compiled":
            torch.compiler.reset()  # compiled code of earlier trainings counts against a limit
            self.read_student = Compiled(self.read_student, notice)
            self.read_teacher = Compiled(self.read_teacher, notice) if self.read_teacher else None
        self.spending = Spending(backwards=max(1, len(self.shifts)))
        self.epochs_done = 0
        self.seconds = 0.0
        self.curve: dict[str, list[float]] = {}

    def train(
        self, checkpoint: Path, on_epoch: OnEpoch = lambda *progress: None, limit: TimeLimit | None = None
    ) -> None:
        """Train to the last epoch, from the first or from what `restore` read; keep `checkpoint` fresh.

        Raises:
            CaptureFailed: the step cannot be captured: begin again eagerly, in a fresh process.
            Diverged: a loss term became infinite or not a number.
            KdbenchError: the disk is full or the folder cannot be written.
            OutOfTime: the limit leaves no time for another epoch; `checkpoint` holds all that was done.
        """
        on_epoch(self.epochs_done, self.epochs, None)
        rhythm = Rhythm(lambda: self.save(checkpoint), limit or TimeLimit())
        while self.epochs_done < self.epochs:
            rhythm.begin()
            terms = self.next_epoch()
            if self.is_evaluated():
                terms["test_top1"] = self.test_top1()
            for name, value in terms.items():
                self.curve.setdefault(f"{self.stage.name}.{name}".removeprefix("."), []).append(value)
            self.seconds += rhythm.elapsed()
            if self.epochs_done < self.epochs:
                rhythm.keep()
            on_epoch(self.epochs_done, self.epochs, terms["loss"])
            rhythm.end()

    @property
    def own_stages(self) -> list[Stage]:
        """Those that the method has before its main one."""
        return self.stages[:-1]

    @property
    def steps_done(self) -> int:
        """Of all epochs that are done."""
        return self.epochs_done * self.steps_per_epoch

    def earlier_networks(self) -> dict[str, nn.Module]:
        """Networks that the training itself keeps of earlier times, by role."""
        return {}

    def replan(self, stages: Iterable[Stage]) -> None:
        """Other stages than the method's own, for a check; the last one is the main one."""
        self.stages = list(stages)
        self.enter(self.stages[-1])

    def next_epoch(self) -> dict[str, float]:
        """Train the first epoch that is not done yet, whatever its stage; returns its mean loss terms.

        Raises:
            Diverged: as `train`.
        """
        if self.epochs_done == 0:
            torch.manual_seed(torch_seed(self.stream, self.seed, "dropout"))
        terms = self.train_epoch(self.enter_stage(self.epochs_done))
        self.epochs_done += 1
        return terms

    def begin(self, stage: Stage) -> None:
        """Make ready for single steps of a stage's first epoch."""
        self.enter(stage)
        self.begin_epoch(0)

    def enter(self, stage: Stage) -> None:
        """Go to a stage, of whose loss terms and steps nothing is known yet."""
        self.stage, self.terms, self.captured = stage, [], None

    def enter_stage(self, epoch: int) -> int:
        """Go to the stage of an epoch of the whole training; returns which of the stage's own epochs it is."""
        for stage in self.stages:
            if epoch < stage.epochs:
                break
            epoch -= stage.epochs
        if stage is not self.stage:
            self.enter(stage)
        if epoch == 0:
            for value in optimizer_tensors(self.optimizer, self.parameters).values():
                value.zero_()
        return epoch

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the training set, in the stage that was entered; the last short batch is kept.

        Returns:
            the mean of each loss term and of their sum, "loss", over the samples.
        """
        n, size = self.samples, self.recipe.batch_size
        self.begin_epoch(epoch)
        feed = self.feed(epoch)
        self.watch_one(epoch, len(feed.step))
        if epoch == 0 and self.method.eager:
            with self.spending.counting(self.readers, self.stage.epochs):
                terms = self.run_steps(feed)
        else:
            terms = self.run_steps(feed, counted=epoch == 0)
        terms = terms.double().cpu()
        if not terms.isfinite().all():
            first = int((~terms.isfinite()).any(dim=0).nonzero()[0])
            bad = [f"'{name}' is {value}" for name, value in zip(self.terms, terms[:, first].tolist(), strict=True)]
            raise Diverged(f"the loss is not finite in step {first + 1} of epoch {epoch + 1}: {', '.join(bad)}")
        sizes = torch.tensor([min(size, n - i * size) for i in range(self.steps_per_epoch)], dtype=torch.float64)
        return dict(zip(self.terms, (terms @ sizes / n).tolist(), strict=True))

    def begin_epoch(self, epoch: int) -> None:
        """Training mode, and what the method does between epochs."""
        self.student.train()
        self.method.train()
        if type(self.method).before_epoch is not Method.before_epoch:
            with self.spending.counting(self.readers), self.watching("before_epoch"):
                self.method.before_epoch(self.stage.name, epoch, self.student)
            self.student.train()

    def watching(self, hook: str) -> AbstractContextManager[None]:
        """The student stays as it is while a hook runs, if the method has it."""
        has_it = getattr(type(self.method), hook) is not getattr(Method, hook)
        return self.guard.unchanged(hook) if has_it else nullcontext()

    def watch_one(self, epoch: int, steps: int) -> None:
        """Choose the step of an epoch that is watched, among those that run eagerly and are full.

        Of short epochs after a stage's first not each has one: about one step in sixteen is watched.
        """
        full = self.samples // self.recipe.batch_size
        if self.captured is not None or not self.watches or (epoch > 0 and one_of(16) >= steps):
            self.watched = -1
        elif self.captures and full > WARM_UP:
            self.watched = one_of(WARM_UP)
        else:
            self.watched = one_of(steps)

    def feed(self, epoch: int) -> Feed:
        """What the steps of an epoch of the stage read; stored outputs are made ready for them."""
        stage, n = self.stage, self.samples
        rate = self.recipe.learning_rate if stage.learning_rate is None else stage.learning_rate
        recipe = self.recipe.shortened(stage.epochs) if stage.name == MAIN or stage.rescaled else self.recipe
        recipe = recipe.model_copy(update={"epochs": stage.epochs, "learning_rate": rate})
        stream = f"{self.stream}/{stage.name}".removesuffix("/")
        draws = DRAWS if self.strong is not None else 0
        feed = epoch_feed(recipe, stream, self.seed, epoch, n, self.num_views, self.device, stage.cycles, draws)
        if self.stored is not None and self.reads("teacher"):
            self.stored.prepare(feed, self.spending)
        return feed

    def run_steps(self, feed: Feed, counted: bool = False) -> Tensor:
        """The steps of an epoch, nothing in which waits for the device; returns their loss terms (T, S).

        Args:
            counted: what the first step spends is added to the account, as the stage's.
        """
        full = len(feed.index) // self.recipe.batch_size
        done: list[Tensor] = []
        if self.captures and self.captured is None and full > WARM_UP:
            with side_stream(self.device) as stream:
                done = [self.step_at(feed, i, counted=counted and i == 0)[:, None] for i in range(WARM_UP)]
                self.capture(feed, stream)
        if self.captured is not None:
            done.append(self.captured.run(feed, len(done), full))
        first = sum(terms.shape[1] for terms in done)
        images = repeat(None) if self.method.is_data_free() else self.images.epoch(feed, first)
        batches = zip(range(first, len(feed.step)), images, strict=False)
        done += [self.step_at(feed, i, images, counted and i == 0)[:, None] for i, images in batches]
        return torch.cat(done, dim=1)

    def never_captured(self) -> str:
        """Why no step of this training can be captured, if so."""
        if self.method.eager:
            return f"Steps of '{self.method.name}' differ"
        if not self.images.can_cut and not self.method.is_data_free():
            return "Large images are decoded outside the step"
        if self.samples // self.recipe.batch_size <= WARM_UP:
            return f"An epoch has no more than {WARM_UP} full batches"
        return ""

    def capture(self, feed: Feed, stream: torch.cuda.Stream) -> None:
        """Record the step, which ran on a stream before; raises as `naming`."""
        self.optimizer.zero_grad(set_to_none=True)
        with naming(self.method.name):
            self.captured = CapturedStep(feed, self.step_at, len(self.terms), self.generator, stream)
