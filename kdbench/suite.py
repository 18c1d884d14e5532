"""A suite: the data, split, recipe, networks, pairs and seeds that every method is measured on.

It is read from one TOML file (`kdbench.suites`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from kdbench.errors import KdbenchError, did_you_mean, first_problem
from kdbench.hashing import digest
from kdbench.tables import (
    NAME,
    SMALL,
    Data,
    Distilled,
    Model,
    Override,
    Pair,
    Recipe,
    Recipes,
    Statistics,
    Table,
    Weights,
    check_effects,
)
from kdbench.tasks import Tasks
from kdbench.teacher_names import teacher_name


class Suite(Table):
    """One benchmark.

    Attributes:
        revision: raised when a change of kdbench itself alters the suite's results.
        most_seeds: how many a method may have in place of `seeds`. They count if it has them all on every pair, else
            the first `seeds` do; a number between, where one could stop because the result pleases, never does.
        teachers: "trained" here by the suite's recipe, or "pretrained": timm's own weights, fetched by timm.
        teachers_each: how many are trained of each architecture, that differ in their seed. The student of seed s is
            taught by number s modulo it, so that intervals cover how results vary with the teacher.
        students: "fresh", or "pretrained": from timm's own weights, with a classifier for the data's classes.
        weights: of single teachers: a state dict of one's own, a distilled student, or where the file of an accepted
            teacher is that is too large for the results.
        teams: for methods with several teachers: beside the teacher of a pair, which other teachers of the suite.
        assistants: for methods that bridge the gap of a pair "teacher:student": networks in between, from large to
            small. They are trained within the cell.
        distilled: of a suite whose methods make a small training set. A pair is then the architecture by which images
            are made, trained on the whole training set as a reference, and the student that learns from the images.
        purpose: what it is for, where that is not choosing a method; the leaderboard says so, and shows others first.
        statistics: how results vary over seeds, as measured; no part of the protocol (docs/statistics.md).
        tasks: groups of classes that come one after the other (docs/lifelong.md). A student's teacher is itself as it
            was before a task, so each pair is of one network with itself.
    """

    name: str = Field(pattern=NAME)
    title: str
    purpose: str = ""
    revision: int = Field(ge=1)
    teachers: Literal["trained", "pretrained"] = "trained"
    teachers_each: int = Field(default=1, ge=1, le=100)
    students: Literal["fresh", "pretrained"] = "fresh"
    seeds: int = Field(ge=1)
    most_seeds: int | None = None
    pairs: tuple[Pair, ...] = Field(min_length=1)
    models: dict[Annotated[str, Field(pattern=NAME)], Model]
    data: Data
    recipe: Recipes
    methods: dict[str, Override] = {}
    weights: dict[str, Weights] = {}
    teams: dict[str, tuple[str, ...]] = {}
    assistants: dict[str, tuple[str, ...]] = {}
    statistics: Statistics | None = None
    distilled: Distilled | None = None
    tasks: Tasks | None = None
    off_protocol: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Suite:
        models, pairs = self.models, [str(pair) for pair in self.pairs]
        teachers, students = {pair.teacher for pair in self.pairs}, {pair.student for pair in self.pairs}
        for pair in self.pairs:
            check_names(f"pair '{pair}' names the unknown model '{{}}'", (pair.teacher, pair.student), models)
        trained = set(models) - (teachers - students)  # a model without a pair may wait for one
        check_names("recipe.students names '{}', the student of no pair", self.recipe.students, trained)
        for method, override in self.methods.items():
            check_names(f"methods.{method}.pairs names the unknown pair '{{}}'", override.pairs, pairs)
        check_names("weights names '{}', the teacher of no pair", self.weights, teachers)
        for teacher, team in self.teams.items():
            check_names("teams names '{}', the teacher of no pair", (teacher, *team), teachers)
        check_names("assistants names the unknown pair '{}'", self.assistants, pairs)
        check_names(
            "statistics.pairs names the unknown pair '{}'", self.statistics.pairs if self.statistics else (), pairs
        )
        for between in self.assistants.values():
            check_names("assistants names the unknown model '{}'", between, models)
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> Suite:
        if self.most_seeds is not None and self.most_seeds <= self.seeds:
            raise ValueError("most_seeds must be greater than seeds")
        if self.data.validation >= self.data.train:
            raise ValueError("data.validation must be smaller than data.train")
        if self.data.learned_from < self.data.num_classes:
            raise ValueError("data.train_fraction leaves fewer images than there are classes")
        if self.distilled and max(self.data.image_size) > SMALL:
            raise ValueError(f"distilled is for images of at most {SMALL} pixels a side. Remove it, or resize them")
        if self.distilled and self.learned_from > self.data.learned_from:
            raise ValueError("distilled.images_per_class makes more images than the training set has")
        if len({len(self.data.mean), len(self.data.std), self.data.channels}) != 1:
            raise ValueError("data.mean and data.std need one value a channel")
        for name, model in self.models.items():
            if any(len(values) != self.data.channels for values in (model.mean, model.std) if values is not None):
                raise ValueError(f"models.{name}: mean and std need one value a channel")
            if model.modality == "grey" and self.data.channels == 1:
                raise ValueError(f"models.{name}: modality 'grey' has no effect on images of one channel. Remove it")
            if model.modality and self.data.channels not in (1, 3):
                raise ValueError(f"models.{name}: modality '{model.modality}' is for images of one or three channels")
            try:
                digest(model.identity)
            except (TypeError, ValueError) as error:
                raise ValueError(f"models.{name}: {error}") from error
        return self

    @model_validator(mode="after")
    def _teachers_are_enough(self) -> Suite:
        if self.teachers_each == 1:
            return self
        outside = {"weights": self.weights, "tasks": self.tasks, "distilled": self.distilled}
        if self.teachers == "pretrained" or any(outside.values()):
            what = next((name for name, given in outside.items() if given), "teachers = 'pretrained'")
            raise ValueError(f"teachers_each is for teachers that are trained here. Remove it, or {what}")
        if self.teachers_each < (most := self.most_seeds or self.seeds):
            raise ValueError(
                f"teachers_each must be at least {most}, the seeds of a method: students that share a teacher are not "
                "independent, and intervals take them to be"
            )
        return self

    @model_validator(mode="after")
    def _recipes_have_effect(self) -> Suite:
        recipes = [self.recipe_of(), self.teacher_recipe(), *(self.recipe_of(name) for name in self.models)]
        given = {name for name in self.recipe.model_fields_set if name in Recipe.model_fields}
        check_effects("recipe", given, recipes)
        check_effects("recipe.teacher", self.recipe.teacher, [self.teacher_recipe()])
        if self.teachers == "pretrained" and (trained := sorted(set(self.recipe.teacher) - {"precision"})):
            raise ValueError(f"recipe.teacher.{trained[0]} has no effect on pretrained teachers. Remove it")
        for name, changes in self.recipe.students.items():
            check_effects(f"recipe.students.{name}", changes, [self.recipe_of(name)])
        return self

    @property
    def learned_from(self) -> int:
        """Images in an epoch of a student under one of the suite's methods."""
        if self.distilled:
            return self.distilled.images_per_class * self.data.num_classes
        return self.data.learned_from // (len(self.tasks.classes) if self.tasks else 1)

    @model_validator(mode="after")
    def _tasks_fit(self) -> Suite:
        if self.tasks and self.distilled:
            raise ValueError("tasks and distilled are two kinds of suites. Remove one of them")
        if self.tasks:
            outside = {"recipe.teacher": self.recipe.teacher, "weights": self.weights, "teams": self.teams}
            self.tasks.check(self.data.num_classes, self.pairs, {**outside, "assistants": self.assistants})
        return self

    @property
    def teacher_names(self) -> list[str]:
        """The teachers of the pairs; none with tasks, where a student is taught by itself as it was before."""
        models = [] if self.tasks else list(dict.fromkeys(pair.teacher for pair in self.pairs))
        return [teacher_name(model, number) for model in models for number in range(self.teachers_each)]

    def teacher_of(self, model: str, seed: int) -> str:
        """The teacher of an architecture that teaches students of this seed."""
        return teacher_name(model, seed % self.teachers_each)

    def teachers_beside(self, pair: Pair, seeds: Iterable[int]) -> list[str]:
        """The teachers of a pair that students of these seeds have; none with tasks."""
        return [] if self.tasks else list(dict.fromkeys(self.teacher_of(pair.teacher, seed) for seed in seeds))

    def teachers_to_choose(self) -> list[str]:
        """The same, for a command that is about them.

        Raises:
            KdbenchError: there are none.
        """
        if self.tasks:
            raise KdbenchError(
                f"Suite '{self.name}' has [tasks] and no teachers: its students are taught by themselves."
            )
        return self.teacher_names

    def recipe_of(self, student: str | None = None) -> Recipe:
        """The recipe of one student."""
        return self._recipe(self.recipe.students.get(student or "", {}))

    def teacher_recipe(self) -> Recipe:
        return self._recipe(self.recipe.teacher)

    def _recipe(self, override: dict[str, Any]) -> Recipe:
        base = self.recipe.model_dump(exclude={"teacher", "students"})
        try:
            return Recipe.model_validate_json(json.dumps({**base, **override}))
        except ValidationError as error:
            raise ValueError(f"recipe: {first_problem(error)}") from error

    def override(self, method: str, pair: Pair | None) -> tuple[dict[str, Any], Override]:
        """Parameters that the suite sets for a method on a pair, and where they come from."""
        override = self.methods.get(method, Override(source="paper", trials=0))
        return {**override.params, **override.pairs.get(str(pair), {})}, override

    def read_by(self, requires: Collection[str], pair: Pair) -> tuple[str, ...]:
        """The teachers that a method reads on a pair, by what it requires: the pair's own first, then its team."""
        if self.tasks:
            return ()
        own = (pair.teacher,) if any(output.startswith("teacher") for output in requires) else ()
        return own + (self.teams.get(pair.teacher, ()) if "team" in requires else ())

    def between(self, requires: Collection[str], pair: Pair) -> tuple[str, ...]:
        """The assistants that a method trains on a pair, by what it requires."""
        return self.assistants.get(str(pair), ()) if "assistants" in requires else ()

    def protocol(self) -> dict[str, Any]:
        """All that the results of every cell depend on, except its student, method, seed and teacher.

        What a single student's recipe changes is in the key of that student's cells, so that adding a student does not
        unrank the others.
        """
        given: dict[str, Any] = {"students": self.students} if self.students == "pretrained" else {}
        if self.teachers_each > 1:
            given["teachers_each"] = self.teachers_each
        if self.distilled:
            given["distilled"] = self.distilled.model_dump(mode="json")
        if self.tasks:
            given["tasks"] = self.tasks.model_dump(mode="json")
        return {
            **given,
            "suite": self.name,
            "revision": self.revision,
            "data": self.data.model_dump(mode="json", exclude_none=True),
            "recipe": self.recipe_of().model_dump(mode="json", exclude_none=True),
            "teacher_recipe": self.teacher_recipe().model_dump(mode="json", exclude_none=True),
            "selection": "last epoch",
            "off_protocol": list(self.off_protocol),
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the protocol: records are compared, and rows ranked, under one."""
        return digest(self.protocol())

    def teacher_protocol(self) -> dict[str, Any]:
        """All that a teacher depends on, except its model."""
        given = {"teachers": self.teachers} if self.teachers == "pretrained" else {}
        return {
            **given,
            "suite": self.name,
            "revision": self.revision,
            "data": self.data.for_teachers.model_dump(mode="json", exclude_none=True),
            "recipe": self.teacher_recipe().model_dump(mode="json", exclude_none=True),
            "selection": "last epoch",
        }

    def with_data_sha256(self, sha256: str | None) -> Suite:
        """The same suite bound to data of this content; None for whatever is there."""
        return self.model_copy(update={"data": self.data.model_copy(update={"sha256": sha256})})

    def loads(self, model: str) -> bool:
        """Whether a teacher's weights are not trained here: timm's, or others that the suite names."""
        return self.teachers == "pretrained" or model in self.weights

    def bound_to(self, protocol: dict[str, Any]) -> Suite:
        """The same suite with the data of a record's protocol, where it states none itself."""
        data = protocol.get("data")
        if self.data.sha256 is not None or not isinstance(data, dict):
            return self
        return self.with_data_sha256(data.get("sha256"))

    def states(self, protocol: dict[str, Any]) -> bool:
        """Whether a protocol is the suite's, under any data where the suite does not state their hash."""
        given = without_content(protocol) if self.data.sha256 is None else protocol
        return digest(given) == self.fingerprint

    def with_epochs(self, epochs: int) -> Suite:
        """The same suite over fewer (or more) epochs, marked as off its protocol."""
        if epochs == self.recipe.epochs:
            return self
        students = {
            name: {k: v for k, v in override.items() if k not in ("epochs", "milestones")}
            for name, override in self.recipe.students.items()
        }
        teacher = self.teacher_recipe().model_dump()
        recipe = Recipes(**self.recipe_of().shortened(epochs).model_dump(), teacher=teacher, students=students)
        note = f"epochs: {epochs} instead of {self.recipe.epochs}"
        return self.model_copy(update={"recipe": recipe, "off_protocol": (*self.off_protocol, note)})

    def with_teacher_epochs(self, epochs: int) -> Suite:
        """The same suite with teachers of fewer epochs, for a quick look, marked as off its protocol."""
        recipe = self.teacher_recipe()
        if epochs >= recipe.epochs or self.teachers == "pretrained":
            return self
        changed = self.recipe.model_copy(update={"teacher": recipe.shortened(epochs).model_dump(mode="json")})
        note = f"teachers: {epochs} epochs instead of {recipe.epochs}"
        return self.model_copy(update={"recipe": changed, "off_protocol": (*self.off_protocol, note)})

    def with_validation(self) -> Suite:
        """The same suite trained without, and reported on, the validation part of train, marked as off its protocol.

        Teachers stay those of the whole training set: they have seen the images that are held out of the student's.
        """
        data = self.data.model_copy(update={"evaluate_on": "validation"})
        return self.model_copy(update={"data": data, "off_protocol": (*self.off_protocol, "reported on validation")})


def check_names(problem: str, names: Iterable[str], known: Collection[str]) -> None:
    """Names of a suite's file are among those that they can be.

    Args:
        problem: what is wrong with one that is not, with a place for it.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        if name not in known:
            raise ValueError(problem.replace("{}", name) + "." + did_you_mean(name, known))


def without_content(protocol: dict[str, Any]) -> dict[str, Any]:
    """A protocol without the hash of its data."""
    data = protocol.get("data")
    if not isinstance(data, dict):  # of a record that someone else made
        return protocol
    return {**protocol, "data": {key: value for key, value in data.items() if key != "sha256"}}
