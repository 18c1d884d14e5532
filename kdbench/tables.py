"""The tables of a suite's file: networks, data, recipe, overrides of methods, pairs, addresses of weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Execution = Literal["eager", "captured", "compiled"]
SMALL = 64  # pixels of a side, up to which images of folders are held decoded
NAME = r"^[a-z0-9][a-z0-9_.-]*$"  # names become folders: no separators, no leading dot
REPOSITORY = r"^https://[A-Za-z0-9.-]+(:\d+)?/[A-Za-z0-9_./~+-]{1,200}$"  # without a user's name or token
COMMIT = r"^[0-9a-f]{40}([0-9a-f]{24})?$"


class Table(BaseModel):
    """A TOML table: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Model(BaseModel):
    """One network: timm's name and any arguments that timm's constructor takes (`img_size = 32`, `patch_size = 4`).

    Attributes:
        input_size: height and width that it sees, if not the suite's: images are resized for it.
        mean, std: of its own normalisation, if not the suite's.
        modality: what it sees of each image, if not its pixels: "grey", their brightness, or "edges", its gradient's
            length. Where teacher and student differ in it, distillation is across modalities.
        source_sha256: of the code of a network that another package registers; set by kdbench.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = Field(min_length=1)
    input_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    modality: Literal["grey", "edges"] | None = None
    source_sha256: str | None = None

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
        config: which of its configurations, if it has several.
        columns: of images and labels in that data set; "image" and "label" if left out.
        splits: its train and test parts; "train" and "test" ("val" of folders) if left out. Of Parquet files also parts
            of parts, "train[:80%]" and "train[80%:]".
        split_seed: what is not split yet (the first of `splits`; class folders without a folder of a part around them)
            is split into `train` and `test` rows with the classes in proportion, in an order drawn by this number.
        exclude: what a folder holds that is no part of the data: patterns of the shell, of paths below the folder.
        image_size: height and width.
        resize: "box" scales images of another size until they cover `image_size`, each pixel a mean over those that it
            covers, and cuts what is over at both ends; without it, they are an error.
        train, test: rows of each part, in canonical order; a source that is not split is, with classes in proportion.
        validation: rows of train that `--validate` holds out.
        train_fraction: the part of train that students learn from, the first rows of each class in canonical order;
            teachers learn from all of it.
        crop_padding: p pixels of zeros around an image, from which (2p + 1) ** 2 crops are cut.
        mean, std: of each channel, for pixels in 0..1.
        sha256: of the decoded pixels and labels of both parts, in canonical order (of large images: of the files and
            their paths); without it, keys have that of the data that are there, and no record is for the board.
        test_labels_sha256: of the test labels as 16-bit integers, in canonical order.
        evaluate_on: "validation" trains on the rest of train and reports on its validation part.
    """

    source: str
    config: str | None = Field(None, min_length=1)
    columns: tuple[str, str] | None = None
    splits: tuple[str, str] | None = None
    split_seed: int | None = Field(None, ge=0)
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    num_classes: int = Field(gt=1)
    image_size: tuple[int, int]
    resize: Literal["box"] | None = None
    channels: Literal[1, 3]
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    validation: int = Field(gt=0)
    train_fraction: float | None = Field(None, gt=0, lt=1)
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
        if self.exclude is not None and not self.is_folder:
            raise ValueError(f"exclude is of image folders, and '{self.source}' is none. Remove it")
        if self.split_seed is not None and self.source.startswith("sklearn/"):
            raise ValueError(f"'{self.source}' is split without split_seed. Remove it")
        if self.config is not None and (self.is_folder or self.source.startswith("sklearn/")):
            raise ValueError(f"config is of data sets of the hub, and '{self.source}' is none. Remove it")
        if self.is_folder and self.split_seed is not None and self.splits is not None:
            raise ValueError("split_seed splits class folders that lie in no folder of a part. Remove splits")
        if self.resize is not None and (self.is_large or self.source.startswith("sklearn/")):
            raise ValueError(f"resize is for images of at most {SMALL} pixels from Parquet files or folders. Remove it")
        if self.is_large and self.crop_padding:
            raise ValueError(
                f"crop_padding is for images of at most {SMALL} pixels: crops of larger ones from folders have random "
                "sizes. Remove it"
            )
        return self

    @model_validator(mode="after")
    def _stays_in_its_folder(self) -> Data:
        named = {"source": [self.source], "splits": self.splits or (), "config": [self.config or ""]}
        for key, names in named.items():
            for name in names:
                if ".." in Path(name).parts or "\\" in name or name.startswith("/") or "//" in name:
                    raise ValueError(f"{key} '{name}' leads out of the folder of the data. Correct it")
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
    def for_teachers(self) -> Data:
        """A teacher learns from the whole training set and is evaluated on the test set, whatever its students are."""
        return self.model_copy(update={"evaluate_on": "test", "train_fraction": None})

    @property
    def learned_from(self) -> int:
        """Images in an epoch of a student."""
        rows = self.train - (self.validation if self.evaluate_on == "validation" else 0)
        return rows if self.train_fraction is None else round(rows * self.train_fraction)

    @property
    def num_views(self) -> int:
        """How many crops and flips an image has; of a large image, how many seeds there are for a view."""
        if self.is_large:
            return 2**31
        return (2 * self.crop_padding + 1) ** 2 * (2 if self.horizontal_flip else 1)

    @property
    def plain_view(self) -> int:
        """The view that is the image as it is, neither shifted nor mirrored; of small images."""
        flips = 2 if self.horizontal_flip else 1
        return self.num_views // flips // 2 * flips


class Distilled(Table):
    """What a suite of distilled data asks for: a training set made small, from which students learn alone.

    Attributes:
        images_per_class: how many images a method makes of each class, with that class as their label.
    """

    images_per_class: int = Field(gt=0)


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
    """Where a teacher's weights are: one of `file`, `address` and `record`.

    Attributes:
        file: a state dict of one's own, by its path from the suite's file or the working folder.
        address: where such a file, or the one of the teacher's accepted record, can be fetched.
        record: the folder of a record in `runs/` whose student is this teacher.
        sha256: of the file; that of a file of one's own is found out where it is not stated.
        origin: what records say of where the weights come from, in place of what kdbench finds out.
    """

    file: str | None = Field(None, min_length=1)
    address: str | None = Field(None, pattern=r"^https?://\S+$")
    record: str | None = Field(None, min_length=1)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    origin: str | None = Field(None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Weights:
        if [self.file, self.address, self.record].count(None) != 2:
            raise ValueError("weights are in one place: give a file, an address or a record")
        return self

    def located(self, folder: Path) -> Weights:
        """The same with its path from a suite's folder, where it is there."""
        return self.model_copy(
            update={
                key: str((folder / path).absolute())
                for key in ("file", "record")
                if (path := getattr(self, key)) is not None and (folder / path).exists()
            }
        )


class Spread(Table):
    """How one method's top-1, in percent, varies from seed to seed: what statistics know before its own seeds are seen.

    Attributes:
        seed_sd: a method's usual standard deviation over seeds.
        seed_df: how many degrees of freedom that is worth: few where methods vary unlike.
        seed_correlation: of two methods' results at the same seed.
    """

    seed_sd: float = Field(gt=0)
    seed_df: float = Field(gt=0)
    seed_correlation: float = Field(0.0, ge=0, lt=1)


class Statistics(Spread):
    """The same of the mean over all pairs, and of single pairs "teacher:student"."""

    pairs: dict[str, Spread] = {}


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
