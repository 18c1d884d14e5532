"""A suite for images of one's own: what is found, what is skipped and why, and a file that runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from kdbench.commands.new_suite import write_suite
from kdbench.data.access import load_dataset, with_content
from kdbench.data.folders import list_parts
from kdbench.data.large import list_images
from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.suite import Suite
from kdbench.suites import load_suite

CLASSES = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KDBENCH_DATA", "unset")
    monkeypatch.setattr("kdbench.commands.new_suite.has_gpu", lambda: False)
    load_data.cache_clear()
    list_images.cache_clear()


def picture(seed: int, height: int, width: int, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[..., 0])


def fill(folder: Path, count: int, size: tuple[int, int] = (20, 24), suffix: str = "png", seed: int = 0) -> None:
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture(1000 * seed + 100 * label + i, *size).save(folder / name / f"{i}.{suffix}")


def write(place: str | Path, size: int | None = None, config: str | None = None) -> tuple[Suite, str]:
    """The suite, and what was said."""
    console = Console(file=io.StringIO(), width=200)
    write_suite(str(place), config, size, Path("it.toml"), console)
    found: Any = console.file
    return load_suite("it.toml"), found.getvalue()


def test_class_folders_are_split_by_a_seed_and_the_file_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "photos", 20)
    suite, said = write("photos/")
    assert "60 images of 3 classes, split by a seed" in said
    assert f"kdbench run --method kd --suite it.toml --data-dir {tmp_path}" in said
    data = suite.data
    assert (data.source, data.split_seed, data.num_classes, data.channels) == ("imagefolder/photos", 0, 3, 3)
    assert (data.train, data.test, data.validation, data.image_size) == (48, 12, 5, (20, 24))
    assert data.resize is None
    assert data.mean == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
    assert data.std == pytest.approx((0.29, 0.29, 0.29), abs=0.01)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    dataset = load_dataset(with_content(suite).data)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (48, 12)
    assert dataset.test_labels.bincount().tolist() == [4, 4, 4]


def test_train_and_val_are_taken_as_they_are_and_grey_images_have_one_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "p" / "train", 12)
    fill(tmp_path / "p" / "val", 3, seed=1)
    for path in (tmp_path / "p").glob("*/*/*.png"):
        with Image.open(path) as image:
            image.convert("L").convert("RGB" if "val" in path.parts else "L").save(path)
    suite, said = write("p")
    assert "45 images of 3 classes, 36 to train on, 9 to test on" in said
    assert (suite.data.splits, suite.data.channels, suite.data.split_seed) == (("train", "val"), 1, None)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    assert len(load_dataset(with_content(suite).data).test_labels) == 9


def test_a_file_that_lies_in_two_classes_is_left_out_of_both(tmp_path: Path) -> None:
    root = tmp_path / "p"
    fill(root / "train", 12)
    fill(root / "val", 3, seed=1)
    doubtful = (root / "train" / "ant" / "1.png").read_bytes()
    (root / "train" / "cat" / "odd.png").write_bytes(doubtful)
    (root / "val" / "ant" / "too.png").write_bytes(doubtful)
    suite, said = write("p")
    for one, other in (("train/ant/1", "train/cat/odd"), ("train/cat/odd", "val/ant/too")):
        assert f"{one}.png: the same file as {other}.png, whose class is another: both are left out" in said
    assert (suite.data.train, suite.data.test) == (35, 9)


def test_a_class_whose_every_image_is_doubtful_is_one_line(tmp_path: Path) -> None:
    fill(tmp_path / "p" / "train", 2)
    fill(tmp_path / "p" / "val", 2, seed=1)
    for name in ("0.png", "1.png"):
        path = tmp_path / "p" / "train" / "ant" / name
        path.write_bytes((tmp_path / "p" / "train" / "bee" / name).read_bytes())
    with pytest.raises(KdbenchError, match="is left to train on"):
        write("p")


def test_what_cannot_be_used_is_skipped_with_its_reason_and_the_file_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "photos"
    fill(root, 12, (30, 30))
    jpeg = root / "ant" / "cut[1].jpg"
    picture(7, 60, 60).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:-200])
    (root / "bee" / "notes.txt").write_text("")
    (root / "bee" / "0.HEIC").write_bytes(b"")
    (root / "bee" / "README").write_text("")
    (root / "cat" / "more").mkdir()
    (root / "cat" / "copy.png").write_bytes((root / "cat" / "1.png").read_bytes())
    (root / "cat" / "a\nname = 'b' \U0001f600.png").write_bytes(b"no image")
    (root / "labels.csv").write_text("")
    (root / "empty").mkdir()
    (root / ".ipynb_checkpoints").mkdir()
    suite, said = write(root)
    for line in (
        "ant/cut[[]1].jpg: image file is truncated",
        "*.txt: no suffix of images that kdbench reads (1 of them)",
        "*.HEIC: no suffix",
        "bee/README: no image file",
        "cat/more: a folder within a class folder",
        "cat/copy.png: the same file as cat/1.png",
        "labels.csv: it lies in no class folder",
        "empty: a folder without a usable image",
        "Hidden files and folders in photos/ are passed over: .ipynb_checkpoints.",
    ):
        assert line in said
    assert suite.name == "photos"
    assert suite.data.train + suite.data.test == 36
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    assert sum(len(part.paths) for part in list_parts(suite.data)) == 36
    load_dataset(with_content(suite).data)


def test_large_photographs_are_scaled_once_or_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "photos", 12, (100, 130), "jpg")
    suite, _ = write("photos")
    assert (suite.data.image_size, suite.data.resize, suite.data.crop_padding) == ((64, 64), "box", 8)
    Path("it.toml").unlink()
    suite, _ = write("photos", size=96)
    assert suite.data.is_large
    assert suite.models["large"].name == "resnet34"
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    assert len(list_images(with_content(suite).data).test_paths) == suite.data.test
    monkeypatch.setattr("kdbench.commands.new_suite.has_gpu", lambda: True)
    Path("it.toml").unlink()
    assert write("photos")[0].data.image_size == (96, 96)


def parquet(path: Path, count: int, labels: Any, seed: int = 0, names: list[str] | None = None) -> None:
    rows = []
    for i in range(count):
        buffer = io.BytesIO()
        picture(1000 * seed + i, 12, 12).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({"image": rows, "label": labels})
    if names:
        kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
        table = table.cast(kinds.arrow_schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_a_parquet_file_is_split_by_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "p" / "photos.parquet", 30, np.arange(30) % 3)
    suite, said = write("p/photos.parquet")
    assert "30 images of 3 classes, split by a seed" in said
    assert (suite.data.splits, suite.data.split_seed) == (("photos", "photos"), 0)
    assert suite.models["large"].name == "digits_resnet8"
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "p"))
    assert len(load_dataset(with_content(suite).data).test_labels) == 6


def test_parquet_files_of_parts_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "p" / "default" / "train" / "0000.parquet", 30, np.arange(30) % 3, names=CLASSES)
    parquet(tmp_path / "p" / "default" / "test" / "0000.parquet", 6, np.arange(6) % 3, seed=1, names=CLASSES)
    suite, said = write("p")
    assert "30 to train on, 6 to test on" in said
    assert "# Classes: ant, bee, cat" in Path("it.toml").read_text()
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "p"))
    assert len(load_dataset(with_content(suite).data).train_labels) == 30


def test_what_no_suite_can_be_made_of_is_one_line(tmp_path: Path) -> None:
    fill(tmp_path / "few", 1)
    (tmp_path / "none" / "only").mkdir(parents=True)
    parquet(tmp_path / "texts.parquet", 6, ["0", "1", "cat"] * 2)
    parquet(tmp_path / "null.parquet", 6, [0, 1, 2] * 2)
    table = pq.read_table(tmp_path / "null.parquet").to_pydict()
    pq.write_table(pa.table({**table, "image": [*table["image"][:5], None]}), tmp_path / "null.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    for place, said in (
        ("few", "3 images of 3 classes are too few"),
        ("none", "needs a folder of images for each of two classes or more; it has 'only'"),
        ("texts.parquet", "holds string (row 2 has 'cat'); labels must be integers 0 to C - 1"),
        ("null.parquet", "row 5 has no image (null)"),
        ("broken.parquet", "Cannot read"),
        ("nowhere", "No folder or file nowhere (--suite)"),
    ):
        with pytest.raises(KdbenchError) as caught:
            write(tmp_path / place if place != "nowhere" else place)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not Path("it.toml").exists()


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    fill(tmp_path / "photos", 12)
    Path("it.toml").write_text("years of work")
    with pytest.raises(KdbenchError, match=r"it\.toml is there already"):
        write("photos")
    assert Path("it.toml").read_text() == "years of work"


class Hub:
    """Stands for the hub's part of the `datasets` library."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, str | None, str]]()
        monkeypatch.setattr(datasets, "get_dataset_config_names", lambda source: ["fine", "coarse"])
        monkeypatch.setattr(datasets, "get_dataset_split_names", lambda source, config: ["train", "test"])
        monkeypatch.setattr(datasets, "load_dataset", self.load)

    def load(self, source: str, config: str | None = None, *, split: str) -> Any:
        self.asked.append((source, config, split))
        return datasets.Dataset(pq.read_table(self.folder / f"{split}.parquet"))


def test_a_data_set_of_the_hub_needs_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet(tmp_path / "train.parquet", 30, np.arange(30) % 3, names=CLASSES)
    parquet(tmp_path / "test.parquet", 6, np.arange(6) % 3, seed=1, names=CLASSES)
    hub = Hub(monkeypatch, tmp_path)
    with pytest.raises(KdbenchError, match=r"has the configurations fine, coarse. Choose one: --config"):
        write("someone/photos")
    suite, said = write("someone/photos", config="fine")
    assert "--data-dir" not in said
    assert suite.data.config == "fine"
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    assert len(load_dataset(with_content(suite).data).train_labels) == 30
    assert hub.asked[-1] == ("someone/photos", "fine", "test")
