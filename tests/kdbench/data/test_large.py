"""Folders of large images: their rows, and batches that depend on the stream alone, whatever process decodes them."""

from __future__ import annotations

import gc
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.checks.bench import Bench
from kdbench.data.access import load_dataset
from kdbench.data.feed import epoch_feed
from kdbench.data.large import FileDataset, LargeImages, files_content, list_images
from kdbench.errors import KdbenchError
from kdbench.suites import load_suite
from kdbench.tables import Data
from kdbench_methods.dfad import DFAD

DATA = Data(
    source="imagefolder/animals",
    num_classes=2,
    image_size=(72, 72),
    channels=3,
    train=9,
    test=4,
    validation=3,
    horizontal_flip=True,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
)
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    for split, sizes in (("train", {"cat": 5, "dog": 4}), ("val", {"cat": 2, "dog": 2})):
        for name, count in sizes.items():
            place = tmp_path / "animals" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    list_images.cache_clear()
    return tmp_path / "animals"


def images(dataset: FileDataset) -> LargeImages:
    return LargeImages(DATA, dataset, 4, CPU)


def test_rows_are_in_the_order_of_their_paths_with_a_class_a_folder(folder: Path) -> None:
    dataset = load_dataset(DATA)
    assert isinstance(dataset, FileDataset)
    assert [p.relative_to(folder).as_posix() for p in dataset.test_paths] == [
        "val/cat/0.png",
        "val/cat/1.png",
        "val/dog/0.png",
        "val/dog/1.png",
    ]
    assert dataset.train_labels.tolist() == [0] * 5 + [1] * 4


def test_an_epochs_batches_are_a_function_of_the_stream(folder: Path) -> None:
    source, elsewhere = images(list_images(DATA)), images(list_images(DATA))
    recipe = load_suite("digits").recipe_of().model_copy(update={"batch_size": 4})
    feed = epoch_feed(recipe, "animals", 0, 0, 9, DATA.num_views, CPU)
    elsewhere.workers = 2
    whole, before = list(elsewhere.epoch(feed, 0)), torch.get_rng_state()
    assert [len(batch) for batch in whole] == [4, 4, 1]
    assert whole[0].shape == (4, 3, 72, 72)
    [_, second, _] = whole
    assert torch.equal(next(source.epoch(feed, 1)), second)  # the same images from the middle of the epoch
    other = next(source.epoch(replace(feed, view=feed.view + 1), 0))
    assert not torch.equal(other, whole[0])  # the views are the stream's
    assert torch.equal(torch.get_rng_state(), before)  # from which a training may draw


@pytest.mark.slow
def test_processes_are_started_for_many_images_once_and_end_with_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = list_images(DATA)
    assert images(dataset).workers == 0
    monkeypatch.setattr("kdbench.data.large.IN_PROCESS", 13)
    source = images(dataset)
    assert source.workers >= 1
    source.workers, others, seen = 1, {process.pid for process in active_children()}, set()
    recipe = load_suite("digits").recipe_of().model_copy(update={"batch_size": 4})
    for epoch in range(2):
        begun = source.epoch(epoch_feed(recipe, "animals", 0, epoch, 9, DATA.num_views, CPU), 0)
        assert len(next(begun)) == 4  # the rest is left
        [batch] = source.test()
        assert torch.equal(batch, next(images(dataset).test()))
        seen |= {process.pid for process in active_children()}
    assert len(seen - others) == 1
    del source, begun
    gc.collect()
    assert {process.pid for process in active_children()} <= others


def test_a_data_free_method_is_given_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = list_images(DATA)
    monkeypatch.setattr(LargeImages, "load", lambda *given: pytest.fail("a file is read"))
    trainer = Bench(DFAD).trainer()
    trainer.images = images(dataset)
    assert trainer.images.cut(torch.arange(0), torch.arange(0)).shape == (0, 3, 72, 72)
    trainer.train_epoch(trainer.enter_stage(0))


def test_test_images_are_timms_centre_crops_normalised(folder: Path) -> None:
    dataset = list_images(DATA)
    [batch] = images(dataset).test()
    with Image.open(dataset.test_paths[0]) as image:
        short = int(72 / 0.875)
        resized = image.resize((int(24 * short / 20), short), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 72) / 2), round((resized.height - 72) / 2)
    pixels = np.asarray(resized.crop((left, top, left + 72, top + 72)), dtype=np.float64) / 255
    expected = (pixels - DATA.mean) / DATA.std
    assert np.abs(batch[0].permute(1, 2, 0).numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "imagefolder/plants"}, "No folder .*plants/train"),
        ({"train": 10}, "9 images of 2 classes, but the suite's .data. says 10 of 2"),
        ({"num_classes": 3}, "of 2 classes, but the suite's .data. says 9 of 3"),
        ({"sha256": "0" * 64}, r"has sha256 [0-9a-f]{64}, not the suite's 0000.*Correct data.sha256"),
        ({"test_labels_sha256": "0" * 64}, r"has test_labels_sha256 .*Correct data.test_labels_sha256"),
        ({"splits": ("train", "test")}, "No folder .*animals/test"),
    ],
)
def test_other_files_than_the_suite_says_are_one_line(change: dict[str, object], said: str, folder: Path) -> None:
    data: Data = DATA.model_copy(update=change)
    with pytest.raises(KdbenchError, match=said) as caught:
        list_images(data)
    assert "\n" not in str(caught.value)


def test_validation_is_a_part_of_train_seen_as_test_images_are(folder: Path) -> None:
    plain, held = list_images(DATA), list_images(DATA.model_copy(update={"evaluate_on": "validation"}))
    assert (len(held.train_paths), len(held.test_paths)) == (6, 3)
    assert sorted([*held.train_paths, *held.test_paths]) == sorted(plain.train_paths)
    assert set(held.test_labels.tolist()) == {0, 1}
    [seen] = images(held).test()
    again = images(held)
    again.pictures.paths["test"] = held.test_paths[1:]
    assert torch.equal(next(again.test()), seen[1:])


@pytest.mark.parametrize("workers", [0, 2])
def test_views_that_a_method_asks_for_are_those_of_an_epoch(workers: int, folder: Path) -> None:
    source = images(list_images(DATA))
    recipe = load_suite("digits").recipe_of().model_copy(update={"batch_size": 4})
    feed = epoch_feed(recipe, "animals", 0, 0, 9, DATA.num_views, CPU)
    batch = next(source.epoch(feed, 0))
    source.workers = workers
    before = torch.get_rng_state()
    assert torch.equal(source.cut(*feed.rows(0)), batch)
    assert torch.equal(source.cut(*feed.rows(0)), batch)
    assert torch.equal(torch.get_rng_state(), before)  # which a network's dropout draws from


def test_class_folders_without_parts_are_split_by_a_seed_with_the_classes_in_proportion(folder: Path) -> None:
    for path in sorted((folder / "val").glob("*/*")):
        path.rename(folder / "train" / path.parent.name / f"v{path.name}")
    data = DATA.model_copy(update={"source": "imagefolder/animals/train", "split_seed": 1})
    found = list_images(data)
    assert (len(found.train_paths), len(found.test_paths)) == (9, 4)
    assert sorted(found.test_labels.tolist()) == [0, 0, 1, 1]
    assert [path.parent.name for path in found.test_paths] == ["cat", "cat", "dog", "dog"]
    other = list_images(data.model_copy(update={"split_seed": 2}))
    assert set(other.test_paths) != set(found.test_paths)
    assert files_content(data) != files_content(data.model_copy(update={"split_seed": 2}))
    bound = list_images(data.model_copy(update={"sha256": files_content(data)}))
    bound.check_unchanged(data)
    assert bound.test_paths == found.test_paths


def test_without_a_folder_the_error_says_how_to_name_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_DATA")
    with pytest.raises(KdbenchError, match=r"name the folder that holds animals/ with --data-dir"):
        list_images(DATA)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_one_line(workers: int, folder: Path) -> None:
    (folder / "val" / "dog" / "1.png").write_bytes(b"no image")
    source = images(list_images(DATA))
    source.workers = workers
    with pytest.raises(KdbenchError, match=r"^Cannot read .*dog/1.png: it is no image that Pillow knows.$") as caught:
        list(source.test())
    assert "\n" not in str(caught.value)


def test_the_content_is_that_of_the_files_and_not_of_their_sizes(folder: Path) -> None:
    before, path = files_content(DATA), folder / "val" / "dog" / "1.png"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    assert files_content(DATA) != before


def test_unchanged_files_are_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = files_content(DATA)
    monkeypatch.setattr("kdbench.data.large.file_sha256", lambda path: pytest.fail("hashed again"))
    assert files_content(DATA) == found
    assert len(list_images(DATA.model_copy(update={"sha256": found})).train_paths) == 9  # as a worker does


def test_files_that_change_while_they_are_trained_on_are_one_line(folder: Path) -> None:
    dataset = list_images(DATA)
    dataset.check_unchanged(DATA)
    (folder / "val" / "dog" / "1.png").touch()
    with pytest.raises(KdbenchError, match=r"Files in .*animals changed while they were trained on. Run the command"):
        dataset.check_unchanged(DATA)


def test_large_images_are_upright_and_of_8_bits_too(folder: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (90, 80), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    place = folder / "val" / "cat"
    Image.fromarray(grey).save(place / "0.png", exif=exif)
    Image.fromarray(np.rot90(grey, 3).astype(np.uint16) * 257).save(place / "1.png")
    [batch] = images(list_images(DATA)).test()
    assert torch.equal(batch[0], batch[1])


@pytest.mark.parametrize(("size", "large"), [((64, 64), False), ((64, 65), True), ((224, 224), True)])
def test_images_of_folders_are_large_from_65_pixels_on(size: tuple[int, int], large: bool) -> None:
    data = DATA.model_copy(update={"image_size": size})
    assert data.is_large is large
    assert data.num_views == (2**31 if large else 2)
    assert not data.model_copy(update={"source": "someone/animals"}).is_large
