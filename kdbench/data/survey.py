"""A look at images of one's own: what they are, how many, and what of them cannot be used and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kdbench.data.folders import IGNORED, Visible, is_image, listed
from kdbench.data.images import open_image
from kdbench.data.sources import OnRows
from kdbench.errors import KdbenchError

TRAIN = ("train", "training")  # names of parts
TEST = ("test", "val", "valid", "validation", "testing")  # the first that is there
SAMPLED = 1000  # images, for mean and deviation


@dataclass
class Survey:
    """Images of one's own.

    Attributes:
        source: of the suite's data.
        data_dir: the folder to name with --data-dir; None for what is downloaded.
        given: further keys of the suite's data: columns, config, splits, split_seed.
        classes: their names, or numbers.
        parts: of each part, how many images each class has; of one part, if it is still to be split.
        sizes: height and width of each image, upright.
        grey: whether no image has colours.
        excluded: patterns of what cannot be used, each with the reason.
        notes: what else is to be known.
        sample: opens one in so many of train's images, for mean and deviation.
    """

    source: str
    data_dir: Path | None
    given: dict[str, object]
    classes: list[str]
    parts: list[Counter[str]]
    sizes: list[tuple[int, int]]
    grey: bool
    excluded: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sample: Callable[[], list[Image.Image]] = list

    @property
    def images(self) -> int:
        """Of all parts."""
        return sum(sum(part.values()) for part in self.parts)


def is_without_colour(image: Image.Image) -> bool:
    """Whether an image in RGB has equal channels."""
    pixels = np.asarray(image)
    return bool((pixels == pixels[..., :1]).all())


def mean_and_deviation(
    images: Sequence[Image.Image], size: tuple[int, int], channels: int
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, for pixels in 0..1, of images scaled and cut to a size."""
    height, width = size
    fitted = [ImageOps.fit(image, (width, height), Image.Resampling.BOX) for image in images]
    pixels = np.stack([np.asarray(image.convert("L" if channels == 1 else "RGB")) for image in fitted])
    flat = pixels.reshape(-1, channels).astype(np.float64) / 255
    mean, deviation = flat.mean(axis=0).tolist(), flat.std(axis=0).tolist()
    return [round(value, 4) for value in mean], [max(round(value, 4), 0.01) for value in deviation]


def survey_folder(root: Path, on_rows: OnRows = lambda rows: None) -> Survey:
    """Class folders, or a train and a test part of such; hidden files are passed over as in a run.

    Raises:
        KdbenchError: it has no class folders with images, or fewer than two classes.
    """
    root = root.resolve()
    names = {path.name for path in Visible(root)(root) if path.is_dir()}
    train = next((name for name in TRAIN if name in names), None)
    test = next((name for name in TEST if name in names), None) if train else None
    source = f"imagefolder/{root.name}"
    given: dict[str, object] = {"split_seed": 0}
    if train and test:
        splits = [train, test]
        given = {"splits": splits}
    else:
        splits, root, source = [""], root / (train or ""), f"{source}/{train}" if train else source
    look = Look(root, on_rows)
    parts = [look.part(root / split) for split in splits]
    classes = [name for name, paths in parts[0].items() if paths]
    if len(classes) < 2:
        found = ", ".join(f"'{name}'" for name in parts[0]) or "none"
        raise KdbenchError(
            f"{root / splits[0]} needs a folder of images for each of two classes or more; it has {found}. Put images "
            "into CLASS/, or train/CLASS/ and val/CLASS/."
        )
    for split, part in zip(splits, parts, strict=True):
        for name in [name for name in part if name not in classes]:
            what = "a class that the train part lacks" if part[name] else "a folder without a usable image"
            look.exclude(root / split / name, what)
            del part[name]
    look.exclude_copies(parts)
    if bare := next((name for name in classes if not parts[0][name]), None):
        raise KdbenchError(
            f"No image of {root / splits[0] / bare} is left to train on: each is a copy of a test image or of one of "
            "another class. Remove the copies."
        )
    beside = sorted(names - {train, *splits, *classes}) if train else []
    notes = [f"{', '.join(beside)}/ lies beside {train}/ and is not used."] if beside else []
    paths = [path for part in parts for some in part.values() for path in some]
    return Survey(
        source=source,
        data_dir=root.parents[source.count("/") - 1],
        given=given,
        classes=classes,
        parts=[Counter({name: len(part.get(name, [])) for name in classes}) for part in parts],
        sizes=[look.sizes[path] for path in paths],
        grey=all(look.grey[path] for path in paths),
        excluded=look.excluded,
        notes=notes + look.notes,
        sample=lambda: [open_image(path, 3, str(path)) for path in sampled(parts[0])],
    )


def sampled(part: dict[str, list[Path]]) -> list[Path]:
    """Some files of a part, evenly."""
    paths = [path for some in part.values() for path in some]
    return paths[:: -(-len(paths) // SAMPLED)]


class Look:
    """Opens every image below a folder, and notes what cannot be used.

    Attributes:
        excluded: patterns of paths below the folder, each with the reason.
        sizes, grey: of each image.
    """

    def __init__(self, root: Path, on_rows: OnRows) -> None:
        self.root, self.on_rows = root, on_rows
        self.visible = Visible(root)
        self.excluded: dict[str, str] = {}
        self.notes: list[str] = []
        self.suffixes: Counter[str] = Counter()
        self.sizes: dict[Path, tuple[int, int]] = {}
        self.grey: dict[Path, bool] = {}
        self.digests: dict[Path, str] = {}

    def part(self, folder: Path) -> dict[str, list[Path]]:
        """The usable images of the class folders of a part."""
        found: dict[str, list[Path]] = {}
        for path in self.visible(folder):
            if path.is_dir():
                found[path.name] = self.images(path)
            else:
                self.exclude(path, "it lies in no class folder")
        hidden = Counter(path.name for path in folder.rglob("*") if path.name[0] == "." or path.name in IGNORED)
        if hidden:
            self.notes.append(f"Hidden files and folders in {folder.name}/ are passed over: {listed(sorted(hidden))}.")
        return found

    def images(self, folder: Path) -> list[Path]:
        """The usable images of a class folder."""
        usable: list[Path] = []
        for path in self.visible(folder):
            if path.is_dir():
                self.exclude(path, "a folder within a class folder")
            elif is_image(path):
                if self.opens(path):
                    usable.append(path)
            elif path.suffix:
                self.suffixes[path.suffix] += 1
                count = f"{self.suffixes[path.suffix]} of them"
                self.excluded[f"*{escape(path.suffix)}"] = f"no suffix of images that kdbench reads ({count})"
            else:
                self.exclude(path, "no image file")
        return usable

    def opens(self, path: Path) -> bool:
        """Look at one image; whether it can be used."""
        try:
            image = open_image(path, 3, path.name)
            self.digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        except (KdbenchError, OSError) as error:
            self.exclude(path, str(error).removeprefix(f"Cannot read {path.name}: ").removeprefix(f"{path.name} "))
            return False
        self.sizes[path] = (image.height, image.width)
        self.grey[path] = is_without_colour(image)
        self.on_rows(len(self.sizes))
        return True

    def exclude(self, path: Path, why: str) -> None:
        self.excluded[escape(path.relative_to(self.root).as_posix())] = why

    def exclude_copies(self, parts: list[dict[str, list[Path]]]) -> None:
        """Of files with equal bytes one stays, that of the test part if it has one: a student must not have seen it.

        None stays where their classes differ: nobody knows which is the right one.
        """
        copies: dict[str, list[Path]] = {}
        for part in reversed(parts):
            for path in (path for paths in part.values() for path in paths):
                copies.setdefault(self.digests[path], []).append(path)
        gone: set[Path] = set()
        for first, *others in copies.values():
            stranger = next((path for path in others if path.parent.name != first.parent.name), None)
            for path in others if stranger is None else (first, *others):
                other = stranger if stranger and path.parent.name == first.parent.name else first
                differs = ", whose class is another: both are left out" if stranger else ""
                self.exclude(path, f"the same file as {other.relative_to(self.root).as_posix()}{differs}")
                gone.add(path)
        for part in parts:
            for name, paths in part.items():
                part[name] = [path for path in paths if path not in gone]
