"""A suite: the data, split, recipe, networks, pairs and seeds that every method is measured on, in one TOML file.

load_suite("digits")             a built-in suite
load_suite("path/to/mine.toml")  a user's own
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kdbench.errors import KdbenchError, did_you_mean, first_problem
from kdbench.hashing import digest, labels_sha256

Execution = Literal["eager", "captured", "compiled"]
SUITES = Path(__file__).parent / "suites"
SMALL = 64  # pixels of a side, up to which images of folders are held decoded
NAME = r"^[a-z0-9][a-z0-9_.-]*$"  # names become folders: no separators, no leading dot


class Table(BaseModel):
    """A TOML table: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(BaseModel):
    """One network: timm's name and any arguments that timm's constructor takes (`img_size = 32`, `patch_size = 4`).

    Attributes:
        input_size: height and width that it sees, if not the suite's: images are resized for it.
        mean, std: of its own normalisation, if not the suite's.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = Field(min_length=1)
    input_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """All that it is, for hashes."""
        return self.model_dump(exclude_none=True)

    @property
    def about(self) -> dict[str, Any]:
        """All that it is but its name, as JSON has it, for records."""
        return json.loads(json.dumps({name: value for name, value in self.identity.items() if name != "name"}))

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Data(Table):
    """Images, their split and their views.

    Attributes:
        source: "sklearn/digits"; a data set of the Hugging Face hub, "owner/name", of which a local copy serves too; or
            "imagefolder/name", image files in a folder a class below name/train and name/val.
        columns: of images and labels in that data set; "image" and "label" if left out.
        splits: its train and test parts; "train" and "test" ("val" of folders) if left out.
        image_size: height and width.
        train, test: rows of each part, in canonical order; a source that is not split is, with classes in proportion.
        validation: rows of train that `--validate` holds out.
        crop_padding: p pixels of zeros around an image, from which (2p + 1) ** 2 crops are cut.
        mean, std: of each channel, for pixels in 0..1.
        sha256: of the decoded pixels and labels of both parts, in canonical order (of large images: of the files and
            their paths); without it, keys have that of the data that are there, and no record is for the board.
        test_labels_sha256: of the test labels as 16-bit integers, in canonical order.
        evaluate_on: "validation" trains on the rest of train and reports on its validation part.
    """

    source: str
    columns: tuple[str, str] | None = None
    splits: tuple[str, str] | None = None
    num_classes: int = Field(gt=1)
    image_size: tuple[int, int]
    channels: Literal[1, 3]
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    validation: int = Field(gt=0)
    crop_padding: int = Field(0, ge=0)
    horizontal_flip: bool = False
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    sha256: str | None = None
    test_labels_sha256: str | None = None
    evaluate_on: Literal["test", "validation"] = "test"

    @model_validator(mode="after")
    def _all_has_an_effect(self) -> Data:
        if self.columns is not None and (self.is_folder or self.source.startswith("sklearn/")):
            raise ValueError(f"columns are of Parquet files, and '{self.source}' has none. Remove them")
        if self.splits is not None and self.source.startswith("sklearn/"):
            raise ValueError(f"'{self.source}' has no splits: it is split by train and test. Remove them")
        if self.is_large and self.crop_padding:
            raise ValueError(
                f"crop_padding is for images of at most {SMALL} pixels: crops of larger ones from folders have random "
                "sizes. Remove it"
            )
        return self

    @property
    def is_folder(self) -> bool:
        """Whether images are files in a folder a class."""
        return self.source.startswith("imagefolder/")

    @property
    def is_large(self) -> bool:
        """Whether images are too many to be held decoded: files that are read again in each epoch."""
        return self.is_folder and max(self.image_size) > SMALL

    @property
    def num_views(self) -> int:
        """How many crops and flips an image has; of a large image, how many seeds there are for a view."""
        if self.is_large:
            return 2**31
        return (2 * self.crop_padding + 1) ** 2 * (2 if self.horizontal_flip else 1)


class Recipe(Table):
    """How a network is trained. The last epoch's weights are the result.

    Attributes:
        optimizer: "sgd", or "adamw" with PyTorch's betas (`momentum` and `nesterov` are SGD's).
        schedule: "one_cycle" (PyTorch's OneCycleLR with its defaults, the learning rate alone) or "multistep".
        milestones: epochs after which the learning rate is multiplied by `decay` (multistep).
        clip_norm: the length to which longer gradients are cut; none if it is not given.
        precision: of the networks' forward passes; losses are float32 always.
    """

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float = Field(gt=0)
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(ge=0)
    schedule: Literal["one_cycle", "multistep"]
    milestones: tuple[Annotated[int, Field(gt=0)], ...] = ()
    decay: float = Field(0.1, gt=0)
    clip_norm: float | None = Field(None, gt=0)
    precision: Literal["float32", "bf16"]

    def uses(self, key: str) -> bool:
        """Whether a training depends on the value of a key."""
        if key in ("milestones", "decay"):
            return self.schedule == "multistep" and any(m < self.epochs for m in self.milestones)
        if key == "nesterov":
            return self.optimizer == "sgd" and (self.momentum > 0 or not self.nesterov)
        return key != "momentum" or self.optimizer == "sgd"

    def shortened(self, epochs: int) -> Recipe:
        """The same recipe over another number of epochs; milestones keep their place in it."""
        milestones = tuple(max(1, round(m * epochs / self.epochs)) for m in self.milestones)
        return self.model_copy(update={"epochs": epochs, "milestones": milestones})


class Recipes(Recipe):
    """The recipe of the students and what differs for teachers and for single students."""

    teacher: dict[str, Any] = {}
    students: dict[str, dict[str, Any]] = {}


class Override(Table):
    """A method's parameters in this suite, where they differ from its own defaults.

    Attributes:
        source: where the values come from: "paper", "paper per pair", "suite" or "tuned"; shown on each record.
        trials: after how many trials they were chosen.
        pairs: further values for single pairs, "teacher:student".
    """

    params: dict[str, Any] = {}
    pairs: dict[str, dict[str, Any]] = {}
    source: Literal["paper", "paper per pair", "suite", "tuned"] = "suite"
    trials: int = Field(0, ge=0)


class Pair(Table):
    """A teacher and a student, by their names in the suite."""

    teacher: str
    student: str

    def __str__(self) -> str:
        return f"{self.teacher}:{self.student}"


class Weights(Table):
    """Where a teacher's weights can be fetched, and the hash of the file."""

    address: str = Field(pattern=r"^https?://\S+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Suite(Table):
    """One benchmark.

    Attributes:
        revision: raised when a change of kdbench itself alters the suite's results.
        teachers: "trained" here by the suite's recipe, or "pretrained": timm's own weights, fetched by timm.
        weights: of teachers whose file is too large for the results: where it is. Its record is there.
        teams: for methods with several teachers: beside the teacher of a pair, which other teachers of the suite.
        assistants: for methods that bridge the gap of a pair "teacher:student": networks in between, from large to
            small. They are trained within the cell.
    """

    name: str = Field(pattern=NAME)
    title: str
    revision: int = Field(ge=1)
    teachers: Literal["trained", "pretrained"] = "trained"
    seeds: int = Field(ge=1)
    pairs: tuple[Pair, ...] = Field(min_length=1)
    models: dict[Annotated[str, Field(pattern=NAME)], Model]
    data: Data
    recipe: Recipes
    methods: dict[str, Override] = {}
    weights: dict[str, Weights] = {}
    teams: dict[str, tuple[str, ...]] = {}
    assistants: dict[str, tuple[str, ...]] = {}
    off_protocol: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Suite:
        for pair in self.pairs:
            for name in (pair.teacher, pair.student):
                if name not in self.models:
                    raise ValueError(
                        f"pair '{pair}' names the unknown model '{name}'.{did_you_mean(name, self.models)}"
                    )
        students = {pair.student for pair in self.pairs}
        for name in self.recipe.students:
            if name not in students:
                raise ValueError(
                    f"recipe.students names '{name}', the student of no pair.{did_you_mean(name, students)}"
                )
        pairs, teachers = [str(pair) for pair in self.pairs], {pair.teacher for pair in self.pairs}
        for method, override in self.methods.items():
            for pair_name in override.pairs:
                if pair_name not in pairs:
                    raise ValueError(f"methods.{method}.pairs names the unknown pair '{pair_name}'")
        named = {"weights": list(self.weights), "teams": [n for t, team in self.teams.items() for n in (t, *team)]}
        for table, names in named.items():
            for name in names:
                if name not in teachers:
                    raise ValueError(f"{table} names '{name}', the teacher of no pair.{did_you_mean(name, teachers)}")
        for pair_name, between in self.assistants.items():
            if pair_name not in pairs:
                raise ValueError(f"assistants names the unknown pair '{pair_name}'.{did_you_mean(pair_name, pairs)}")
            for name in between:
                if name not in self.models:
                    raise ValueError(f"assistants names the unknown model '{name}'.{did_you_mean(name, self.models)}")
        if self.data.validation >= self.data.train:
            raise ValueError("data.validation must be smaller than data.train")
        if len({len(self.data.mean), len(self.data.std), self.data.channels}) != 1:
            raise ValueError("data.mean and data.std need one value a channel")
        for name, model in self.models.items():
            if any(len(values) != self.data.channels for values in (model.mean, model.std) if values is not None):
                raise ValueError(f"models.{name}: mean and std need one value a channel")
            try:
                digest(model.identity)
            except (TypeError, ValueError) as error:
                raise ValueError(f"models.{name}: {error}") from error
        recipes = [self.recipe_of(), self.teacher_recipe(), *(self.recipe_of(name) for name in self.models)]
        given = {name for name in self.recipe.model_fields_set if name in Recipe.model_fields}
        check_effects("recipe", given, recipes)
        check_effects("recipe.teacher", self.recipe.teacher, [self.teacher_recipe()])
        if self.teachers == "pretrained" and (trained := sorted(set(self.recipe.teacher) - {"precision"})):
            raise ValueError(f"recipe.teacher.{trained[0]} has no effect on pretrained teachers. Remove it")
        for name, changes in self.recipe.students.items():
            check_effects(f"recipe.students.{name}", changes, [self.recipe_of(name)])
        return self

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
        return {
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
        data = self.data.model_copy(update={"evaluate_on": "test"})
        given = {"teachers": self.teachers} if self.teachers == "pretrained" else {}
        return {
            **given,
            "suite": self.name,
            "revision": self.revision,
            "data": data.model_dump(mode="json", exclude_none=True),
            "recipe": self.teacher_recipe().model_dump(mode="json", exclude_none=True),
            "selection": "last epoch",
        }

    def with_data_sha256(self, sha256: str | None) -> Suite:
        """The same suite bound to data of this content; None for whatever is there."""
        return self.model_copy(update={"data": self.data.model_copy(update={"sha256": sha256})})

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


def without_content(protocol: dict[str, Any]) -> dict[str, Any]:
    """A protocol without the hash of its data."""
    data = protocol.get("data")
    if not isinstance(data, dict):  # of a record that someone else made
        return protocol
    return {**protocol, "data": {key: value for key, value in data.items() if key != "sha256"}}


def check_effects(table: str, given: Iterable[str], recipes: Sequence[Recipe]) -> None:
    """What a table of a suite says of a recipe matters to one of the recipes that it is for.

    Raises:
        ValueError: names the key without an effect.
    """
    for key in sorted(given):
        if not any(recipe.uses(key) for recipe in recipes):
            of = recipes[0]
            raise ValueError(
                f"{table}.{key} has no effect with optimizer '{of.optimizer}', momentum {of.momentum:g} and schedule "
                f"'{of.schedule}' over {of.epochs} epochs. Remove it or correct them"
            )


def list_suites() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in SUITES.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """Read a built-in suite by name, or any suite file by its path.

    Raises:
        KdbenchError: no such suite, not TOML, an unknown key or a wrong value; names the file and the key.
    """
    path = Path(name) if name.endswith(".toml") else SUITES / f"{name}.toml"
    if not name.endswith(".toml") and name not in list_suites():
        raise KdbenchError(f"Unknown suite '{name}'.{did_you_mean(name, list_suites())} A path must end in .toml.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        suite = Suite.model_validate_json(json.dumps(prepared(table)))
    except OSError as error:
        raise KdbenchError(f"Cannot read suite file {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KdbenchError(f"Suite file {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise KdbenchError(f"Suite file {path}: {first_problem(error)}.") from error
    except (TypeError, ValueError) as error:
        raise KdbenchError(f"Suite file {path}: {error}.") from error
    if path.parent != SUITES and suite.name in list_suites():
        raise KdbenchError(f"Suite file {path}: name: '{suite.name}' is a built-in suite. Choose another name.")
    return suite


def prepared(table: dict[str, Any]) -> dict[str, Any]:
    """A suite's TOML table with its pairs taken apart.

    Raises:
        ValueError: a pair of another form, or a key that only `--epochs` and `--validate` set.
    """
    data = table.get("data")
    if "off_protocol" in table or (isinstance(data, dict) and "evaluate_on" in data):
        raise ValueError("off_protocol and data.evaluate_on are set by --epochs and --validate. Remove them")
    if not isinstance(pairs := table.get("pairs"), list):
        return table
    for pair in pairs:
        if str(pair).count(":") != 1:
            raise ValueError(f"pair '{pair}' is not of the form 'teacher:student'")
    split = [str(pair).split(":") for pair in pairs]
    return {**table, "pairs": [{"teacher": teacher, "student": student} for teacher, student in split]}


def load_test_labels(suite: Suite) -> np.ndarray:
    """(I,) test labels of a built-in suite, in canonical order, from which anyone recomputes its metrics.

    Raises:
        KdbenchError: the suite ships none, or the file does not match its hash.
    """
    path = SUITES / "labels" / f"{(suite.data.test_labels_sha256 or 'unknown')[:12]}.txt"
    if not path.is_file():
        raise KdbenchError(
            f"kdbench has no test labels for suite '{suite.name}' (data.test_labels_sha256): its records are not for "
            "the board."
        )
    labels = np.array(path.read_text(encoding="utf-8").split(), dtype=np.int64)
    if labels_sha256(labels) != suite.data.test_labels_sha256:
        raise KdbenchError(
            f"{path} is corrupt: its content does not match data.test_labels_sha256. Install kdbench again."
        )
    return labels
