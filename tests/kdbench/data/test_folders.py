"""Class folders: train's names are the classes, nothing is passed over, small images are as those of Parquet files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data.access import with_content, with_known_content
from kdbench.data.folders import list_parts
from kdbench.data.small import content_sha256, load_data
from kdbench.errors import KdbenchError
from kdbench.records.keys import cell_key, teacher_key
from kdbench.suite import Suite
from kdbench.tables import Data
from tests.conftest import Command
from tests.kdbench.data.test_sources import write

DATA = Data(
    source="imagefolder/animals",
    num_classes=4,
    image_size=(6, 7),
    channels=3,
    train=20,
    test=8,
    validation=4,
    crop_padding=1,
    horizontal_flip=True,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
)
CLASSES = ["ant", "bee", "cat", "dog"]


def pictures(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 6, 7, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five train and two test images of each class, of files whose size does not tell their content."""
    for split, count in (("train", 5), ("val", 2)):
        for label, name in enumerate(CLASSES):
            place = tmp_path / "animals" / split / name
            place.mkdir(parents=True)
            for i, pixels in enumerate(pictures(count, seed=10 * count + label)):
                Image.fromarray(pixels).save(place / f"{i}.ppm")
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    load_data.cache_clear()
    return tmp_path / "animals"


def test_a_folder_has_the_content_of_parquet_files_with_the_same_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_folder, content = load_data(DATA), content_sha256(DATA)
    for split, of, count in (("train", "train", 5), ("test", "val", 2)):
        images = np.concatenate([pictures(count, seed=10 * count + label) for label in range(4)])
        labels = np.repeat([3, 1, 0, 2], count)  # of the names below
        write(tmp_path / f"parquet/animals/{split}-0.parquet", images, labels, ["cat", "bee", "dog", "ant"])
        assert len(list(folder.glob(f"{of}/*/*"))) == len(labels)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "parquet"))
    load_data.cache_clear()
    data = DATA.model_copy(update={"source": "my/animals", "columns": ("img", "fine_label")})
    assert content_sha256(data) != content  # its classes are those of train's names: cat is 0
    for split, count in (("train", 5), ("test", 2)):
        images = np.concatenate([pictures(count, seed=10 * count + label) for label in range(4)])
        write(tmp_path / f"parquet/animals/{split}-0.parquet", images, np.repeat(range(4), count), CLASSES)
    load_data.cache_clear()
    assert content_sha256(data) == content
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(load_data(data), part), getattr(from_folder, part))


def test_validation_is_cut_from_the_train_images_of_a_folder(folder: Path) -> None:
    found = load_data(DATA.model_copy(update={"evaluate_on": "validation"}))
    assert (len(found.train_labels), len(found.test_labels)) == (16, 4)
    assert sorted(found.test_labels.tolist()) == [0, 1, 2, 3]


def test_a_class_without_test_images_keeps_the_numbers_of_the_others(folder: Path) -> None:
    shutil.rmtree(folder / "val" / "bee")
    _, test = list_parts(DATA.model_copy(update={"test": 6}))
    assert test.labels.tolist() == [0, 0, 2, 2, 3, 3]


def test_swapped_class_folders_are_other_data(folder: Path) -> None:
    before, labels = content_sha256(DATA), load_data(DATA).train_labels
    for split in ("train", "val"):
        (folder / split / "ant").rename(folder / split / "x")
        (folder / split / "bee").rename(folder / split / "ant")
        (folder / split / "x").rename(folder / split / "bee")
    assert content_sha256(DATA) != before
    load_data.cache_clear()
    swap = torch.tensor([1, 0, 2, 3])
    assert torch.equal(load_data(DATA).train_labels, swap[labels])


def test_a_file_overwritten_by_one_of_its_size_and_time_is_noticed(folder: Path) -> None:
    before, path = content_sha256(DATA), folder / "train" / "ant" / "0.ppm"
    about = path.stat()
    path.write_bytes((folder / "train" / "bee" / "1.ppm").read_bytes())
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)
    assert content_sha256(DATA) != before


def test_files_of_file_managers_are_no_images(folder: Path) -> None:
    for name in ("train/.DS_Store", "train/ant/.DS_Store", "val/bee/Thumbs.db", "val/desktop.ini"):
        (folder / name).write_text("")
    assert [len(part.paths) for part in list_parts(DATA)] == [20, 8]


def elk(folder: Path) -> None:
    (folder / "val" / "ant").rename(folder / "val" / "elk")


def other_size(folder: Path) -> None:
    Image.new("RGB", (8, 6)).save(folder / "val" / "cat" / "1.ppm")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (elk, "val has the classes elk, which the train part does not have"),
        (lambda f: (f / "val" / "elk").mkdir(), "val has the classes elk"),
        (lambda f: (f / "train" / "elk").mkdir(), "20 images of 5 classes, but the suite's .data. says 20 of 4"),
        (lambda f: (f / "train" / "ant" / "5.ppm").write_bytes(b""), "21 images of 4 classes.*says 20 of 4"),
        (lambda f: (f / "val" / "ant" / "more").mkdir(), "val/ant/more is no image file .*Move it"),
        (lambda f: (f / "val" / "ant" / "0.heic").write_bytes(b""), "0.heic is no image file"),
        (lambda f: (f / "val" / "ant" / "names.txt").write_bytes(b""), "names.txt is no image file"),
        (lambda f: (f / "val" / "0.png").write_bytes(b""), "val/0.png lies in no class folder"),
        (lambda f: (f / "val" / "metadata.csv").write_bytes(b""), "metadata.csv lies in no class folder"),
        (other_size, "val/cat/1.ppm is an image of 6 x 8 pixels, but the suite's data.image_size says 6 x 7"),
        (lambda f: (f / "val" / "dog" / "0.ppm").write_bytes(b"no"), "Cannot read .*val/dog/0.ppm: it is no image"),
        (lambda f: shutil.rmtree(f / "val"), "No folder .*animals/val"),
    ],
)
def test_what_does_not_belong_in_the_folders_is_one_line_with_its_name(spoil: object, said: str, folder: Path) -> None:
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_what_a_suite_excludes_is_not_looked_at(folder: Path) -> None:
    (folder / "train" / "ant" / "notes.txt").write_text("")
    (folder / "train" / "ant" / "more").mkdir()
    (folder / "val" / "bee" / "0.heic").write_bytes(b"")
    (folder / "train" / "__MACOSX").mkdir()
    (folder / "val" / "dog" / "0.ppm").write_bytes(b"broken")
    with pytest.raises(KdbenchError, match=r"more is no image file .*no folder belongs in a class folder"):
        list_parts(DATA)
    patterns = ("*.txt", "*.heic", "train/ant/more", "*/__MACOSX", "val/dog/0.ppm")
    data = DATA.model_copy(update={"exclude": patterns, "test": 7})
    assert [len(part.paths) for part in list_parts(data)] == [20, 7]
    assert len(load_data(data).test_labels) == 7


def test_other_numbers_of_classes_are_named(folder: Path) -> None:
    (folder / "train" / "__MACOSX").mkdir()
    with pytest.raises(KdbenchError, match=r"says 20 of 4: its classes are __MACOSX, ant, bee, cat, dog\.$"):
        list_parts(DATA)


def test_small_class_folders_without_parts_are_split_as_parquet_files_with_the_same_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "val")
    images = np.concatenate([pictures(5, seed=50 + label) for label in range(4)])
    labels = np.repeat(range(4), 5)
    write(tmp_path / "parquet/animals/all-0.parquet", images, labels, CLASSES)
    sizes: dict[str, object] = {"train": 16, "test": 4, "split_seed": 3}
    data = DATA.model_copy(update={**sizes, "source": "imagefolder/animals/train"})
    first = load_data(data)
    assert sorted(first.test_labels.tolist()) == [0, 1, 2, 3]
    assert content_sha256(data) != content_sha256(data.model_copy(update={"split_seed": 4}))
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "parquet"))
    names = {"columns": ("img", "fine_label"), "splits": ("all", "all")}
    table = DATA.model_copy(update={**sizes, **names, "source": "my/animals"})
    assert torch.equal(load_data(table).test_images, first.test_images)
    assert torch.equal(load_data(table).train_labels, first.train_labels)


@pytest.mark.parametrize(
    "change",
    [
        {"source": "imagefolder/../animals"},
        {"source": "imagefolder//etc"},
        {"source": "/etc/animals"},
        {"splits": ("train", "../val")},
        {"source": "my/animals", "config": "../x"},
    ],
)
def test_no_path_leads_out_of_the_folder(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="leads out of the folder of the data"):
        Data.model_validate({**DATA.model_dump(), **change})


def test_a_class_without_a_train_image_is_refused(folder: Path) -> None:
    (folder / "train" / "elk").mkdir()
    with pytest.raises(KdbenchError, match="train/elk has no image to learn its class from"):
        list_parts(DATA.model_copy(update={"num_classes": 5}))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "tif", "png", "webp"])
def test_every_suffix_that_is_listed_is_read(suffix: str, folder: Path) -> None:
    path = folder / "val" / "ant" / "0.ppm"
    with Image.open(path) as image:
        image.save(path.with_suffix(f".{suffix.upper()}"), lossless=True)
    path.unlink()
    assert len(load_data(DATA).test_labels) == 8


def test_keys_have_the_content_of_a_suite_that_does_not_state_it(
    folder: Path, digits: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = digits.model_copy(update={"data": DATA})
    assert with_known_content(suite) == suite  # nothing was read yet, and nothing is
    first = with_content(suite)
    assert first.data.sha256 == content_sha256(DATA)
    assert with_known_content(suite) == first
    assert with_content(first) == first
    (folder / "val" / "ant" / "0.ppm").rename(folder / "val" / "bee" / "9.ppm")
    assert with_known_content(suite) == suite
    second = with_content(suite)
    assert teacher_key(second, "resnet8", 1) != teacher_key(first, "resnet8", 1)
    keys = {cell_key(s, "resnet8_w4", 0, "vanilla", 1, {}, []) for s in (suite, first, second)}
    assert len(keys) == 3


SUITE = """
name = "mine"
title = "Mine"
revision = 1
seeds = 1
pairs = ["vit:vit_w32"]

[models]
vit = { name = "digits_vit" }
vit_w32 = { name = "digits_vit_w32" }

[data]
source = "imagefolder/animals"
num_classes = 4
image_size = [8, 8]
channels = 1
train = 20
test = 8
validation = 4
mean = [0.5]
std = [0.2]

[recipe]
epochs = 1
batch_size = 8
optimizer = "sgd"
learning_rate = 0.1
weight_decay = 0.0
schedule = "one_cycle"
precision = "float32"
"""


def test_a_dry_run_without_the_data_shows_its_estimate_and_one_with_them_what_is_recorded(
    folder: Path, here: Command, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(SUITE)
    for path in folder.rglob("*.ppm"):
        with Image.open(path) as image:
            image.resize((8, 8)).save(path)
    run = ("run", "-m", "vanilla", "--suite", "mine.toml", "--no-mlflow", "--workers", "1")
    done = here(*run, "--dry-run", KDBENCH_DATA="")
    assert "The data of suite 'mine' are not here (Suite data 'imagefolder/animals' are folders" in done.stdout
    assert "Estimated time" in done.stdout
    assert "have not been read yet: no cell counts as recorded" in here(*run, "--dry-run").stdout
    assert here(*run).returncode == 0
    assert "1 recorded in runs/mine, 0 to train" in here(*run, "--dry-run").stdout
    for old, new in (("ant", "x"), ("bee", "ant"), ("x", "bee")):
        (folder / "train" / old).rename(folder / "train" / new)
    assert "0 recorded in runs/mine, 1 to train" in here(*run).stdout  # other data: another cell
    assert len(list((tmp_path / "runs" / "mine" / "vanilla").iterdir())) == 2
